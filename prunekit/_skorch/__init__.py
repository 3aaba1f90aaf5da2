"""The only room that knows skorch's insides."""

from prunekit._skorch._data import FixedSplit, as_example, cast_floats, check_samples, split_once, take_samples
from prunekit._skorch._distillation import Distillation, distilled
from prunekit._skorch._distributed import initialize_, processes_of, shared_seed
from prunekit._skorch._inputs import Inputs
from prunekit._skorch._nets import (
    bare_module,
    check_net,
    classes_of,
    copy_fitted,
    copy_net,
    device_of,
    float_dtype,
    is_torch_component,
    make_probe,
    make_tuned,
    mark_rates_,
    optimizers_of,
    rebuild,
)
from prunekit._skorch._preparation import prepare
from prunekit._skorch._rates import RATE_POLICIES, RatePolicy, Rates, follows_course
from prunekit._skorch._scoring import Validation, make_validation
from prunekit._skorch._targets import Targets
from prunekit._skorch._training import Budget, FineTuner, Phase, load_trained_, train, trained_state
from prunekit._skorch._travel import TravellingNets
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
    "TravellingNets",
    "Validation",
    "as_example",
    "bare_module",
    "cast_floats",
    "check_net",
    "check_samples",
    "classes_of",
    "copy_fitted",
    "copy_net",
    "device_of",
    "distilled",
    "float_dtype",
    "follows_course",
    "initialize_",
    "is_torch_component",
    "load_trained_",
    "make_probe",
    "make_tuned",
    "make_validation",
    "mark_rates_",
    "optimizers_of",
    "prepare",
    "processes_of",
    "rebuild",
    "shared_seed",
    "split_once",
    "take_samples",
    "train",
    "trained_state",
]
