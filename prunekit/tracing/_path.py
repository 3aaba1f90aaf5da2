"""Which module of a network is running."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from prunekit.tracing._outputs import tensors_of


class ModulePath:
    """
    The path of the module that runs, by hooks on every module of a copy.

    Parameters
    ----------
    module : Module
        The network.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._stack = [""]
        self.outputs: dict[str, Tensor] = {}

    @property
    def current(self) -> str:
        """Dotted path of the innermost module that runs."""
        return self._stack[-1]

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Follow one forward pass; `outputs` has the first tensor that each module returned afterwards."""
        self._stack, self.outputs = [""], {}
        handles = []
        try:
            for name, module in self._module.named_modules():
                handles.append(module.register_forward_pre_hook(self._entering(name), prepend=True))
                handles.append(module.register_forward_hook(self._leaving(name), always_call=True))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _entering(self, name: str) -> Callable[..., None]:
        def enter(module: nn.Module, args: Any) -> None:
            self._stack.append(name)

        return enter

    def _leaving(self, name: str) -> Callable[..., None]:
        def leave(module: nn.Module, args: Any, output: Any) -> None:
            self._stack.pop()
            if isinstance(output, Tensor):
                self.outputs[name] = output
            elif found := tensors_of(output):
                self.outputs[name] = found[0]

        return leave
