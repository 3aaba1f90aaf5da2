"""The tensors of a network and of what it returns, by name."""

from collections.abc import Mapping

from torch import Tensor, nn

OF_EVERY_MODULE = frozenset(vars(nn.Module()))
"""Names of the attributes that PyTorch gives to every module."""


def named_parts(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """
    Return what `Module.named_modules` yields, which takes several times longer in networks of some depth.

    Parameters
    ----------
    module : Module
        A network.

    Returns
    -------
    list of tuple of str and Module
        Dotted paths and modules, each module once.
    """
    found: list[tuple[str, nn.Module]] = []
    seen: set[int] = set()
    ahead = [("", module)]
    while ahead:
        path, part = ahead.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        found.append((path, part))
        if part._modules:
            prefix = f"{path}." if path else ""
            ahead += [(prefix + name, child) for name, child in reversed(part._modules.items()) if child is not None]
    return found


def named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """
    Return parameters and buffers by their first name, each tensor once.

    Parameters
    ----------
    module : Module
        A network.

    Returns
    -------
    dict of str to Tensor
        In the order of registration, parameters first.
    """
    parameters: dict[str, Tensor] = {}
    buffers: dict[str, Tensor] = {}
    seen: set[int] = set()
    for path, part in named_parts(module):
        for own, found in ((part._parameters, parameters), (part._buffers, buffers)):
            for name, tensor in own.items():
                if tensor is not None and id(tensor) not in seen:
                    seen.add(id(tensor))
                    found[f"{path}.{name}" if path else name] = tensor
    return parameters | buffers


def shared_names(module: nn.Module) -> dict[str, str]:
    """
    Return the further names of parameters and buffers that are registered more than once.

    Parameters
    ----------
    module : Module
        A network.

    Returns
    -------
    dict of str to str
        The name under which `named_tensors` has the tensor, by the further name.
    """
    first: dict[int, str] = {}
    found: dict[str, str] = {}
    for kind in ("_parameters", "_buffers"):
        for path, part in named_parts(module):
            for name, tensor in getattr(part, kind).items():
                if tensor is None:
                    continue
                full = f"{path}.{name}" if path else name
                if first.setdefault(id(tensor), full) != full:
                    found[full] = first[id(tensor)]
    return found


def named_outputs(value: object, name: str = "output", depth: int = 0) -> dict[str, Tensor]:
    """
    Return every tensor in what a module returned, looking into containers and plain objects.

    Parameters
    ----------
    value : object
        Tensor, nested containers, dataclass or any object.
    name : str, default="output"
        Name of the value itself; members of a mapping or object have their own, those of a sequence a number.
    depth : int, default=0
        How deep the search is by now; it ends at 6.

    Returns
    -------
    dict of str to Tensor
        In order of appearance.
    """
    if isinstance(value, Tensor):
        return {name: value}
    if depth > 6 or isinstance(value, str | bytes | int | float | nn.Module):
        return {}
    if isinstance(value, list | tuple | set):
        members: dict[str, object] = {f"{name}_{number}": child for number, child in enumerate(value)}
    else:
        own = value if isinstance(value, Mapping) else getattr(value, "__dict__", {})
        members = {f"{name}.{key}" if depth else str(key): child for key, child in own.items()}
    found: dict[str, Tensor] = {}
    for key, child in members.items():
        found.update(named_outputs(child, key, depth + 1))
    return found


def tensors_of(value: object) -> list[Tensor]:
    """Return the tensors of `named_outputs` without their names."""
    return list(named_outputs(value).values())
