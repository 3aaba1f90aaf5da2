"""Whole experiments as data: a YAML file is read, checked and run."""

from prunekit.pipeline._data import Split
from prunekit.pipeline._fitted import Fitted
from prunekit.pipeline._problems import Problem
from prunekit.pipeline._samples import Samples
from prunekit.pipeline.comparing import RunsComparison, compare_runs
from prunekit.pipeline.estimators import PipelineFile, dump_pipeline, load_pipeline
from prunekit.pipeline.loading import load_experiment
from prunekit.pipeline.runner import Listener, RunResult, is_finished, run_experiment
from prunekit.pipeline.schema import Experiment

__all__ = [
    "Experiment",
    "Fitted",
    "Listener",
    "PipelineFile",
    "Problem",
    "RunResult",
    "RunsComparison",
    "Samples",
    "Split",
    "compare_runs",
    "dump_pipeline",
    "is_finished",
    "load_experiment",
    "load_pipeline",
    "run_experiment",
]
