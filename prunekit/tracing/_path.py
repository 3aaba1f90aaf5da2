"""Which module of a network is running."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from prunekit.tracing._outputs import named_parts, tensors_of


class ModulePath:
    """
    The path of the module that runs, and what each module returned in the last run.

    Parameters
    ----------
    module : Module
        A copy of the network, which gets hooks on all of its modules.
    """

    def __init__(self, module: nn.Module) -> None:
        self._stack = [""]
        self.outputs: dict[str, Tensor] = {}
        for name, part in named_parts(module):
            part.register_forward_pre_hook(self._entering(name), prepend=True)
            part.register_forward_hook(self._leaving(name), always_call=True)

    @property
    def current(self) -> str:
        """Dotted path of the innermost module that runs."""
        return self._stack[-1]

    def restart(self) -> None:
        """Forget the last run."""
        self._stack, self.outputs = [""], {}

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
