"""Whole experiments as data: a YAML file is read, checked and run."""

from prunekit.pipeline._data import Split
from prunekit.pipeline._problems import Problem
from prunekit.pipeline.comparing import RunsComparison, compare_runs
from prunekit.pipeline.estimators import PipelineFile, dump_pipeline, load_pipeline
from prunekit.pipeline.loading import load_experiment
from prunekit.pipeline.runner import Listener, RunResult, run_experiment
from prunekit.pipeline.schema import Experiment

__all__ = [
    "Experiment",
    "Listener",
    "PipelineFile",
    "Problem",
    "RunResult",
    "RunsComparison",
    "Split",
    "compare_runs",
    "dump_pipeline",
    "load_experiment",
    "load_pipeline",
    "run_experiment",
]
