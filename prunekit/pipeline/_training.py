"""The dense network of an experiment, as a skorch net that is not trained."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNet, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import InputShapeSetter, LRScheduler
from skorch.dataset import ValidSplit

from prunekit._random import seeded_rng
from prunekit.exceptions import InputError, PrunekitError
from prunekit.pipeline._compute import device_of
from prunekit.pipeline._own_code import named_parameters
from prunekit.pipeline._precision import in_precision
from prunekit.pipeline._seeded import SeededClassifier, SeededRegressor
from prunekit.pipeline._weights import sha256_of, with_weights
from prunekit.pipeline.schema import NetSection

ESTIMATORS = {"NeuralNetClassifier": NeuralNetClassifier, "NeuralNetRegressor": NeuralNetRegressor}
SEEDED = {"NeuralNetClassifier": SeededClassifier, "NeuralNetRegressor": SeededRegressor}
_SCHEDULER = "scheduler"
_SHAPE = "input_shape"
_BUILT = "be built with the options of the file"
_CLONED = "be one that scikit-learn can clone: attributes that do not end in '_' are parameters of its class"


def sample_shape(X: Any) -> tuple[int, ...]:
    """
    Return the shape of one sample; what a net is told whose data come from steps before it.

    Parameters
    ----------
    X : ndarray
        Samples.

    Returns
    -------
    tuple of int
        Without the first dimension.
    """
    return tuple(X.shape[1:])


def build_net(
    section: NetSection,
    input_shape: tuple[int, ...],
    num_outputs: int,
    seed: int,
    *,
    device: str = "cpu",
    follows_steps: bool = False,
    seeded: bool = False,
    dtype: str = "float32",
) -> NeuralNet | FrozenEstimator:
    """
    Build the net without training it.

    Parameters
    ----------
    section : NetSection
        The net and how it is to be trained.
    input_shape : tuple of int
        Shape of one sample.
    num_outputs : int
        Number of classes, or of targets.
    seed : int
        Of the division into what is trained on and what is validated on.
    device : str, default="cpu"
        Where it is trained, if the section does not say.
    follows_steps : bool, default=False
        Whether steps before the net can give samples of another shape, which it then learns in ``fit``.
    seeded : bool, default=False
        Whether it has a seed of its own, as it needs where no pruner has one for it.
    dtype : {"float32", "float64"}, default="float32"
        What the network computes in.

    Returns
    -------
    NeuralNet or FrozenEstimator
        The net; one that is frozen is initialised and has its weights.

    Raises
    ------
    ParameterError
        If the device is not there.
    InputError
        If the pretrained weights do not fit.
    """
    chosen = {"criterion": section.criterion, "optimizer": section.optimizer}
    callbacks: list[tuple[str, Any]] = []
    for one in section.callbacks:
        with _told_as_input(f"The callback {one.name}", _BUILT):
            callback = one.entry.target(**one.arguments)
        with _told_as_input(f"The callback {one.name}", _CLONED):
            callbacks.append((one.name, clone(callback)))  # as searches and pruning will, after the training
    if section.scheduler is not None:
        schedule = LRScheduler(section.scheduler.entry.target, **section.scheduler.arguments)
        callbacks.append((_SCHEDULER, schedule))
    if follows_steps and named_parameters(section.module.entry.target, **{_SHAPE: input_shape}):
        setter = InputShapeSetter(param_name=_SHAPE, input_dim_fn=sample_shape, module_name="module")
        callbacks.append((_SHAPE, setter))
    kind: Any = (SEEDED if seeded else ESTIMATORS)[section.estimator]
    net = kind(
        **_module(section, input_shape, num_outputs, dtype),
        **{key: choice.entry.target for key, choice in chosen.items()},
        **{f"{key}__{name}": value for key, choice in chosen.items() for name, value in choice.arguments.items()},
        lr=section.lr,
        max_epochs=section.max_epochs,
        batch_size=section.batch_size,
        iterator_train__shuffle=True,
        train_split=ValidSplit(section.validation_size, stratified=section.task == "classification", random_state=seed),
        callbacks=callbacks or None,
        callbacks__print_log=None,
        device=device_of(section.device or device),
        verbose=0,
        **({"random_state": seed} if seeded else {}),
    )
    if not section.frozen:
        return net
    with seeded_rng(seed), _told_as_input(f"The net of module {section.module.name}", _BUILT):
        return FrozenEstimator(net.initialize())


@contextmanager
def _told_as_input(what: str, wanted: str) -> Iterator[None]:
    """Tell of what a class raises that its signature does not say."""
    try:
        yield
    except PrunekitError:
        raise
    except Exception as exc:
        raise InputError(f"{what} must {wanted}. It raised {type(exc).__name__}: {exc}") from exc


def _module(section: NetSection, input_shape: tuple[int, ...], num_outputs: int, dtype: str) -> dict[str, Any]:
    """Return what the net is told of its network."""
    target = section.module.entry.target
    from_data = named_parameters(target, **{_SHAPE: input_shape}, num_classes=num_outputs)
    options = {**from_data, **section.module.arguments}
    if dtype != "float32":  # what torch makes by itself
        options |= {"cast_of": target, "cast_to": dtype}
        target = in_precision
    if section.pretrained is not None:
        exclude = tuple(section.pretrained.exclude)
        file = str(section.pretrained.file)
        weights = {"weights_of": target, "weights_file": file, "weights_sha256": sha256_of(file)}
        options |= {**weights, "weights_exclude": exclude}
        target = with_weights
    return {"module": target, **{f"module__{key}": value for key, value in options.items()}}


def network_of(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return parameters of a net as if its network was built from its class alone.

    Parameters
    ----------
    parameters : mapping
        As ``get_params`` of a net returns them.

    Returns
    -------
    dict
        Without what says its type and the weights that it begins with.
    """
    found = dict(parameters)
    for wrapper, target, more in (
        (
            with_weights,
            "module__weights_of",
            ("module__weights_file", "module__weights_sha256", "module__weights_exclude"),
        ),
        (in_precision, "module__cast_of", ("module__cast_to",)),
    ):
        if found["module"] is wrapper:
            found["module"] = found.pop(target)
            found = {key: value for key, value in found.items() if key not in more}
    return found
