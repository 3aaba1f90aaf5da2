"""Every error of the package can be caught as one, and as the builtin that a user would catch."""

import pickle

import pytest

from prunekit import exceptions

BUILTINS = {
    "ExportError": RuntimeError,
    "FileAccessError": OSError,
    "FileMissingError": FileNotFoundError,
    "FilePermissionError": PermissionError,
    "InputError": ValueError,
    "MissingDependencyError": ImportError,
    "NothingToPruneError": ValueError,
    "ParameterError": ValueError,
    "ParameterTypeError": TypeError,
    "PipelineFileError": ValueError,
    "PlanError": ValueError,
    "StateError": ValueError,
    "TargetError": ValueError,
    "TrainingError": RuntimeError,
    "UntrustedError": ValueError,
    "VerificationError": RuntimeError,
}


def test_all_are_listed() -> None:
    defined = {name for name, value in vars(exceptions).items() if isinstance(value, type)}
    assert set(exceptions.__all__) == defined == {*BUILTINS, "PrunekitError"}


@pytest.mark.parametrize("name", BUILTINS)
def test_bases(name: str) -> None:
    error = getattr(exceptions, name)
    assert issubclass(error, exceptions.PrunekitError)
    assert issubclass(error, BUILTINS[name])
    assert str(error("what happened")) == "what happened"


def test_problems_travel_with_the_error() -> None:
    error = exceptions.PipelineFileError("two things", [("line 1", "wrong"), ("line 2", "missing")])
    for copy in (error, pickle.loads(pickle.dumps(error))):
        assert (str(copy), copy.problems) == ("two things", (("line 1", "wrong"), ("line 2", "missing")))
