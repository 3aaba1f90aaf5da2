"""The estimator of a pipeline file as a tree of lines."""

from collections.abc import Iterator

from rich.text import Text

from prunekit.pipeline.diagrams import Part


def diagram_tree(part: Part) -> list[Text]:
    """Return an estimator as a tree, a line for each part and each parameter that is no default."""
    return [_part_line(part), *_branches(part)]


def _part_line(part: Part) -> Text:
    role = "" if part.role in ("", part.kind) else f"{part.role}: " if part.kind else part.role
    return Text.assemble(role, (part.kind, "bold cyan"))


def _branches(part: Part) -> Iterator[Text]:
    lines = [(Text.assemble((name, "green"), f" = {text}"), None) for name, text in part.parameters.items()]
    items: list[tuple[Text, Part | None]] = [*lines, *((_part_line(inner), inner) for inner in part.parts)]
    for number, (line, inner) in enumerate(items, start=1):
        fork, bar = ("└── ", "    ") if number == len(items) else ("├── ", "│   ")
        yield Text(fork, style="dim") + line
        for below in _branches(inner) if inner is not None else ():
            yield Text(bar, style="dim") + below
