"""A pipeline file to a checked experiment, or to one error that lists all that is wrong with it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from prunekit.pipeline._assembly import assemble
from prunekit.pipeline._import_errors import NAME_ERRORS, SENTENCES
from prunekit.pipeline._imports import Imports
from prunekit.pipeline._places import Located
from prunekit.pipeline._problems import KeyPath, Problem, either, file_error, near_match, shown
from prunekit.pipeline._section import (
    BRANCHES,
    DEVICE,
    FILE_NAME,
    ONNX_NAME,
    PROGRAM_NAME,
    STEP_NAME,
    UNKNOWN_KEY,
    UNKNOWN_NAME,
)
from prunekit.pipeline.schema import Experiment

__all__ = ["load_experiment"]


def load_experiment(path: str | Path, assignments: Sequence[str] = (), trust: Sequence[str] = ()) -> Experiment:
    """
    Read and check a pipeline file.

    Parameters
    ----------
    path : str or Path
        A YAML file.
    assignments : sequence of str, default=()
        What wins over the file, each as ``"section.key=value"`` with a value as YAML writes it; what ``--set`` gives on
        the command line.
    trust : sequence of str, default=()
        Packages and modules of which the file may import code, as ``["mylab"]`` or ``["mylab.nets"]``; what ``--trust``
        gives on the command line. A package stands for all of its modules. That code runs with your rights, already
        when the file is checked; without it nothing is imported.

    Returns
    -------
    Experiment
        The checked experiment. Nothing is built or run yet.

    Raises
    ------
    PipelineFileError
        If anything in the file, in those that it includes or in the assignments is wrong; the message lists every
        problem with its line, its key and what to do. So it is if a file imports what is not trusted.
    ParameterError
        If ``trust`` holds something else than names of packages and modules.
    """
    document = assemble(path, assignments)
    imports = Imports.of(document.content.get("imports"), trust)
    try:
        return Experiment.model_validate(
            document.content, context={"folder": document.path.parent, "file": document.path, **imports.context}
        )
    except ValidationError as exc:
        problems = [_problem(error, document) for error in exc.errors(include_url=False)]
        raise file_error(document.path, problems) from exc


def _problem(error: ErrorDetails, document: Located) -> Problem:
    key_path: KeyPath = error["loc"]
    if key_path not in document.places:
        key_path = tuple(key for key in key_path if key not in (*BRANCHES, _OF_KEYS))
    if error["type"] in NAME_ERRORS and key_path[-1] == "name" and key_path not in document.places:
        key_path = key_path[:-1]  # the short form, `optimizer: Adam`
    describe = _SENTENCES.get(error["type"], lambda ctx: f"must be right: {error['msg']}.")
    context = {**error.get("ctx", {}), "key": key_path[-1] if key_path else "", "got": error["input"]}
    return document.problem(key_path, describe(context))


def _must(wanted: str) -> Callable[[dict[str, Any]], str]:
    """Return what makes "must be … Got … instead." of an error's context."""
    return lambda ctx: f"must be {wanted.format_map(ctx)}. Got {shown(ctx['got'])} instead."


def _unknown_name(ctx: dict[str, Any]) -> str:
    return f"there is no {ctx['kind']} named {shown(ctx['got'])}. {near_match(ctx['got'], ctx['known'])}"


def _choice(ctx: dict[str, Any]) -> str:
    # pydantic lists the choices as "'a', 'b' or 'c'"
    choices = [part.strip(" '") for part in ctx["expected"].replace(" or ", ", ").split(",")]
    near = near_match(ctx["got"], choices)
    hint = f" {near}" if near.startswith("Did") else ""
    return f"must be {either(choices)}. Got {shown(ctx['got'])} instead.{hint}"


_OF_KEYS = "[key]"
"""What pydantic puts after a key that is itself wrong."""

_FILE = "the name of a file within the folder of the run: letters, digits, '.', '_' and '-', ending in "

_PATTERNS = {
    DEVICE: "cpu, cuda, cuda:1, mps, or auto for a GPU if there is one",
    STEP_NAME: "letters and digits, beginning with a letter, with single '_' in between, for it names a step",
    ONNX_NAME: f"{_FILE}.onnx",
    PROGRAM_NAME: f"{_FILE}.pt2",
    FILE_NAME: "letters, digits, '.', '_' and '-', beginning with a letter or digit, for it names a file or folder",
}
"""What a text must be, by the pattern that it does not match."""

_SENTENCES: dict[str, Callable[[dict[str, Any]], str]] = {
    "missing": lambda ctx: f"the key '{ctx['key']}' is missing. Add it.",
    UNKNOWN_KEY: lambda ctx: f"unknown key. {near_match(ctx['key'], ctx['known'])}",
    UNKNOWN_NAME: _unknown_name,
    "literal_error": _choice,
    "no_such_file": lambda ctx: f"there is no file {ctx['looked']}. Give a path relative to the pipeline file.",
    "no_such_folder": lambda ctx: f"there is no folder {ctx['looked']}. Give a path relative to the pipeline file.",
    "lacks_file": lambda ctx: f"the folder {ctx['got']} has no {ctx['lacking']}. Give another folder, or add it.",
    "too_few_classes": lambda ctx: f"the folder {ctx['got']} must hold at least two folders, one for each class.",
    "no_csv": lambda ctx: (
        f"must be a .csv file whose first line has the names of the columns. Got {ctx['got']} instead."
    ),
    "no_parquet": lambda ctx: f"must be a Parquet file. Got {ctx['got']} instead.",
    "wrong_task": lambda ctx: (
        f"'{ctx['got']}' is for {' and '.join(ctx['tasks'])}, but the estimator is {ctx['estimator']}. {ctx['fix']}"
    ),
    "too_many_candidates": lambda ctx: (
        f"must be at most {ctx['most']} combinations. Got {ctx['got']} instead; shorten a list, or name "
        "RandomizedSearchCV."
    ),
    "dict_type": _must("a mapping of names to values"),
    "indivisible": _must("a multiple of '{by}', which is {number}"),
    "needs_momentum": lambda ctx: "'nesterov' needs a momentum. Give 'momentum' a value above 0, such as 0.9.",
    "duplicate_name": lambda ctx: f"'{ctx['got']}' stands in the list twice. Keep one of them.",
    "no_such_scorer": lambda ctx: (
        f"the rule needs a scorer named '{ctx['got']}' among 'scoring', a mapping of names to scorers. Got "
        f"{either(ctx['known']) if ctx['known'] else 'no mapping'} instead; name it there, or tell the rule by "
        f"'{ctx['key']}'."
    ),
    "refit_of_one": lambda ctx: (
        "is for several scorers. Leave it out, or give 'scoring' a mapping of names to scorers."
    ),
    "refit_of_several": lambda ctx: (
        f"must be one of the scorers ({', '.join(ctx['known'])}), or a rule. Got {shown(ctx['got'])} instead."
    ),
    "no_jobs": lambda ctx: "must be at least 1, or -1 for as many as there are cores. Got 0 instead.",
    "address_of_nothing": lambda ctx: (
        f"is for clusters, but the backend is {ctx['backend']}. Write 'backend: dask' or 'backend: ray', or leave it "
        "out."
    ),
    "needs_weights": lambda ctx: (
        "a frozen net needs weights. Give 'pretrained: {file: …}', or leave 'frozen' out and the net is trained."
    ),
    "prune_and_steps": lambda ctx: (
        "is there beside 'prune', which stands for steps of a single pruner. Leave out one of them; a step "
        "{name: TaylorPruner, …} takes the same keys."
    ),
    "net_without_step": lambda ctx: (
        f"no step is about the net. Add one that is ({', '.join(ctx['known'])}), or leave the section out."
    ),
    "frozen_without_pruner": lambda ctx: "is for pruning. Add a step TaylorPruner, or leave 'frozen' out.",
    "plots_of_nothing": lambda ctx: "show what pruning did. Add a step TaylorPruner, or leave them out.",
    "no_classes": lambda ctx: f"'{ctx['got']}' is for classes, but the experiment is a regression. Leave it out.",
    "same_file": lambda ctx: f"the run writes another file of the name '{ctx['got']}'. Give this one another.",
    "no_net": lambda ctx: "is about a net, and the experiment has none. Leave it out.",
    "drop_in_points": lambda ctx: (
        f"must be less than 1, for it is a fraction of the accuracy: 0.01 is one point. Got {ctx['got']} instead."
    ),
    "reserved_name": lambda ctx: f"a pipeline has a parameter named '{ctx['got']}'. Give the step another name.",
    "not_a_transformer": lambda ctx: (
        f"all steps but the last and exporters must transform data. Got '{ctx['got']}' before the last instead; move "
        "it, or leave out the steps after it."
    ),
    "nothing_to_export": lambda ctx: (
        f"'{ctx['got']}' exports what a pruner gives. Put it after a step {either(ctx['known'])}."
    ),
    "export_of_candidates": lambda ctx: (
        f"a search has nothing to score after '{ctx['got']}'. Leave the step out, and write 'outputs: {{{ctx['key']}: "
        "true}', which exports the best."
    ),
    "nothing_learns": lambda ctx: (
        f"the last step but for exporters must learn: NeuralNet, a pruner, a classifier or a regressor. Got "
        f"'{ctx['got']}' instead; add such a step."
    ),
    "invalid_parameter": _must("{wanted}"),
    "name_or_mapping": _must("the name of a registered {kind}, or a mapping with the key 'name' and its options"),
    "no_npz": lambda ctx: f"must be a .npz file as numpy.savez writes it. Got {ctx['got']} instead.",
    "int_type": _must("an integer"),
    "int_from_float": _must("an integer"),
    "float_type": _must("a number"),
    "finite_number": _must("a finite number"),
    "bool_type": _must("true or false"),
    "string_type": _must("a text"),
    "string_pattern_mismatch": lambda ctx: _must(_PATTERNS.get(ctx["pattern"], "of the form {pattern}"))(ctx),
    "string_too_long": _must("a text of at most {max_length} characters"),
    "string_too_short": _must("a text of at least {min_length} characters"),
    "list_type": _must("a list"),
    "model_type": _must("a mapping of keys to values"),
    "too_short": lambda ctx: (
        f"must be a {'mapping' if isinstance(ctx['got'], dict) else 'list'} of at least {ctx['min_length']}. "
        f"Got {'an empty one' if ctx['got'] == {} else shown(ctx['got'])} instead."
    ),
    "too_long": _must("a list of at most {max_length}"),
    "greater_than": _must("greater than {gt:.12g}"),
    "greater_than_equal": _must("at least {ge:.12g}"),
    "less_than": _must("less than {lt:.12g}"),
    "less_than_equal": _must("at most {le:.12g}"),
    **SENTENCES,
}
