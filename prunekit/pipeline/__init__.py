"""Whole experiments as data: a YAML file is read, checked and run."""

from prunekit.pipeline._data import Split
from prunekit.pipeline.loading import load_experiment
from prunekit.pipeline.runner import Listener, RunResult, run_experiment
from prunekit.pipeline.schema import Experiment

__all__ = ["Experiment", "Listener", "RunResult", "Split", "load_experiment", "run_experiment"]
