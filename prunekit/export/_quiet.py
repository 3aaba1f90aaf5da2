"""Exporters talk much: to the terminal, by warnings and by logging. Nothing of it is for the user."""

import importlib
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from types import ModuleType

import torch

from prunekit._random import preserve_rng
from prunekit.exceptions import MissingDependencyError


@contextmanager
def quiet() -> Iterator[None]:
    """
    Silence prints, warnings and logging, and keep the random states and what PyTorch is set to.

    Yields
    ------
    None
        Control to the block.
    """
    disabled, fast = logging.root.manager.disable, torch.backends.mha.get_fastpath_enabled()
    sink = io.StringIO()
    try:
        with warnings.catch_warnings(), redirect_stdout(sink), redirect_stderr(sink), preserve_rng(), torch.no_grad():
            warnings.simplefilter("ignore")
            logging.disable(logging.CRITICAL)
            torch.backends.mha.set_fastpath_enabled(False)  # one fused operation that no format knows
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        logging.disable(disabled)


def require(names: tuple[str, ...], extra: str, owner: str) -> list[ModuleType]:
    """
    Import optional packages.

    Parameters
    ----------
    names : tuple of str
        Modules.
    extra : str
        The extra of prunekit that installs them.
    owner : str
        Function that asks, for the message.

    Returns
    -------
    list of module
        The modules, in that order.

    Raises
    ------
    MissingDependencyError
        If one cannot be imported.
    """
    try:
        with quiet():
            return [importlib.import_module(name) for name in names]
    except ImportError as exc:
        raise MissingDependencyError(
            f"{owner} needs {', '.join(dict.fromkeys(name.partition('.')[0] for name in names))}, and cannot import "
            f'them: {exc}. Install them with: pip install "prunekit[{extra}]"'
        ) from exc
