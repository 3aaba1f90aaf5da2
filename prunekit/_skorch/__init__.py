"""The only room that knows skorch's insides."""

from prunekit._skorch._data import FixedSplit, as_example, cast_floats, check_samples, split_once, take_samples
from prunekit._skorch._distillation import distilled
from prunekit._skorch._nets import (
    bare_module,
    check_net,
    copy_fitted,
    copy_net,
    float_dtype,
    make_masked,
    make_probe,
    rebuild,
)
from prunekit._skorch._scoring import Validation, make_validation
from prunekit._skorch._training import FineTuner, InterruptWatch, Phase, train

__all__ = [
    "FineTuner",
    "FixedSplit",
    "InterruptWatch",
    "Phase",
    "Validation",
    "as_example",
    "bare_module",
    "cast_floats",
    "check_net",
    "check_samples",
    "copy_fitted",
    "copy_net",
    "distilled",
    "float_dtype",
    "make_masked",
    "make_probe",
    "make_validation",
    "rebuild",
    "split_once",
    "take_samples",
    "train",
]
