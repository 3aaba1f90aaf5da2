"""The only room that knows skorch's insides."""

from prunekit._skorch._data import FixedSplit, as_example, cast_floats, check_samples, split_once, take_samples
from prunekit._skorch._distillation import Distillation, distilled
from prunekit._skorch._inputs import Inputs
from prunekit._skorch._nets import (
    bare_module,
    check_net,
    copy_fitted,
    copy_net,
    device_of,
    float_dtype,
    make_probe,
    make_tuned,
    rebuild,
)
from prunekit._skorch._preparation import prepare
from prunekit._skorch._rates import RATE_POLICIES, RatePolicy, Rates
from prunekit._skorch._scoring import Validation, make_validation
from prunekit._skorch._targets import Targets
from prunekit._skorch._training import Budget, FineTuner, Phase, load_trained_, train, trained_state
from prunekit._skorch._watches import InterruptWatch

__all__ = [
    "RATE_POLICIES",
    "Budget",
    "Distillation",
    "FineTuner",
    "FixedSplit",
    "Inputs",
    "InterruptWatch",
    "Phase",
    "RatePolicy",
    "Rates",
    "Targets",
    "Validation",
    "as_example",
    "bare_module",
    "cast_floats",
    "check_net",
    "check_samples",
    "copy_fitted",
    "copy_net",
    "device_of",
    "distilled",
    "float_dtype",
    "load_trained_",
    "make_probe",
    "make_tuned",
    "make_validation",
    "prepare",
    "rebuild",
    "split_once",
    "take_samples",
    "train",
    "trained_state",
]
