"""Which module of a network is running."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from prunekit.tracing._outputs import named_parts, tensors_of


class ModulePath:
    """
    The path of the module that runs, and what each module returned in the last run.

    Parameters
    ----------
    module : Module
        A copy of the network, all of whose modules tell when they run.
    by_hooks : bool
        Whether they do so by hooks alone, which a further copy keeps; else by a function of their own in the place of
        what calls their hooks and their code, which takes a fraction of the time.
    """

    def __init__(self, module: nn.Module, by_hooks: bool) -> None:
        self._stack = [""]
        self.outputs: dict[str, Tensor] = {}
        for name, part in named_parts(module):
            if by_hooks or not _is_called_as_usual(part):
                part.register_forward_pre_hook(self._entering(name), prepend=True)
                part.register_forward_hook(self._leaving(name), always_call=True)
            else:
                vars(part)["_call_impl"] = self._around(name, weakref.ref(part))

    @property
    def current(self) -> str:
        """Dotted path of the innermost module that runs."""
        return self._stack[-1]

    def restart(self) -> None:
        """Forget the last run."""
        self._stack, self.outputs = [""], {}

    def _around(self, name: str, owner: weakref.ref[nn.Module]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            self._stack.append(name)
            try:
                output = nn.Module._call_impl(owner(), *args, **kwargs)  # type: ignore[arg-type]
            finally:
                self._stack.pop()
            self._note(name, output)
            return output

        return run

    def _entering(self, name: str) -> Callable[..., None]:
        def enter(module: nn.Module, args: Any) -> None:
            self._stack.append(name)

        return enter

    def _leaving(self, name: str) -> Callable[..., None]:
        def leave(module: nn.Module, args: Any, output: Any) -> None:
            self._stack.pop()
            self._note(name, output)

        return leave

    def _note(self, name: str, output: Any) -> None:
        if isinstance(output, Tensor):
            self.outputs[name] = output
        elif found := tensors_of(output):
            self.outputs[name] = found[0]


def _is_called_as_usual(part: nn.Module) -> bool:
    """Return whether calling a module ends in `Module._call_impl`."""
    kind = type(part)
    return (
        kind.__call__ is nn.Module.__call__
        and kind._call_impl is nn.Module._call_impl
        and not isinstance(part, torch.jit.ScriptModule)
    )
