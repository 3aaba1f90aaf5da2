"""Gradients of the parameters that read channels, those of frozen parameters too."""

from collections.abc import Callable

from torch import Tensor, nn

from prunekit._processes import Processes


class Gradients:
    """
    Collect the gradients that scoring needs.

    Parameters
    ----------
    module : Module
        The network. Of its frozen parameters those that are needed get gradients, which are taken away before any
        optimizer sees them.
    names : set of str
        Parameters whose gradients are needed.
    """

    def __init__(self, module: nn.Module, names: set[str]) -> None:
        self._module = module
        self._frozen: set[str] = set()
        self._hooked: dict[str, nn.Parameter] = {}
        self._taken: dict[str, Tensor] = {}
        paths = {name: name.rpartition(".") for name, _ in module.named_parameters() if name in names}
        self._holders = [(name, module.get_submodule(path), key) for name, (path, _, key) in paths.items()]
        for name, parameter in module.named_parameters():
            if name in names and not parameter.requires_grad:
                self._frozen.add(name)
                parameter.requires_grad_(True)
        self.attach()

    def attach(self) -> None:
        """Watch the frozen parameters, also where others have come into their place; forget what those got."""
        self._taken.clear()
        for name, part, key in self._holders:
            parameter = part._parameters[key] if name in self._frozen else None
            if parameter is not None and self._hooked.get(name) is not parameter:
                parameter.register_post_accumulate_grad_hook(self._take(name))
                self._hooked[name] = parameter

    def collect(self, processes: Processes) -> dict[str, Tensor]:
        """
        Return the gradients of the last backward pass.

        Parameters
        ----------
        processes : Processes
            Those that train the network. Gradients of trained parameters are averaged over them already, those of
            frozen ones are not.

        Returns
        -------
        dict of str to Tensor
            By the name of the parameter; those without a gradient are left out.
        """
        present = {name: one for name, part, key in self._holders if (one := part._parameters[key]) is not None}
        frozen = {name: one for name, one in present.items() if name in self._frozen}
        taken = processes.average([self._taken.pop(name, None) for name in frozen], list(frozen.values()))
        gradients = {name: one.grad for name, one in present.items()}
        gradients |= {name: one for name, one in zip(frozen, taken, strict=True) if one is not None}
        return {name: gradient for name, gradient in gradients.items() if gradient is not None}

    def begin(self) -> None:
        """Forget what frozen parameters got before the gradients of the others were set to none or zero."""
        if self._taken and self.are_reset():
            self._taken.clear()

    def are_reset(self) -> bool:
        """
        Tell whether the next gradients are added to none.

        Returns
        -------
        bool
            True if there are trained parameters, and none of them has a gradient other than zero.
        """
        trained = [parameter.grad for name, parameter in self._module.named_parameters() if name not in self._frozen]
        return bool(trained) and all(gradient is None or not bool(gradient.any()) for gradient in trained)

    def freeze_again_(self, module: nn.Module) -> None:
        """
        Freeze the parameters of a copy of the network that were frozen in the first place.

        Parameters
        ----------
        module : Module
            The copy.
        """
        for name, parameter in module.named_parameters():
            if name in self._frozen:
                parameter.requires_grad_(False)

    def _take(self, name: str) -> Callable[[Tensor], None]:
        def take(parameter: Tensor) -> None:
            gradient, parameter.grad = parameter.grad, None
            if gradient is not None:
                known = self._taken.get(name)
                self._taken[name] = gradient if known is None else known + gradient

        return take
