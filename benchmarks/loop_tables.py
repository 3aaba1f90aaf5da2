"""The tables of the pruning loop."""

from pathlib import Path

import pandas as pd

_RIVALS = ("torch-pruning local", "torch-pruning global")
_PARTS = {
    "overhead": "Share of a run that is neither forward, backward, optimizer step nor validation (floor 0.05)",
    "latency": "Speed of the compacted network: the factor of time over the factor of multiply-adds (floor 0.75)",
    "memory": "Peak memory of a pruning run beside plain training (floor 1.1)",
    "kills": "Runs that were killed and went on",
}


def rendered(folder: Path) -> str:
    """
    Return all tables.

    Parameters
    ----------
    folder : Path
        Where the CSV files are.

    Returns
    -------
    str
        Markdown.
    """
    parts = ["# The pruning loop\n\nWritten by `python -m benchmarks.loop`; machine and versions are in `loop.json`.\n"]
    path = folder / "loop_accuracy.csv"
    if path.exists():
        table = pd.read_csv(path)
        parts += [_in_short(table), _accuracy(table)]
    for name, title in _PARTS.items():
        path = folder / f"loop_{name}.csv"
        if path.exists():
            parts.append(f"## {title}\n\n{_markdown(pd.read_csv(path))}\n")
    return "\n".join(parts)


_SHOWN = {
    "prunekit": "prunekit",
    "prunekit distilled": "prunekit, `distill=0.7`",
    "random": "units at random",
    "torch-pruning": "Torch-Pruning, its course",
    "torch-pruning local, our course": "Torch-Pruning, our course",
    "scratch": "small shape from scratch",
}
"""Rows of the short table, which is that of the README."""
_TITLES = {"vgg16": "VGG-16 of a quarter of the width", "fashion-resnet20": "ResNet-20"}


def _in_short(table: pd.DataFrame) -> str:
    """Return one table of accuracy and time for all nets."""
    rows: dict[str, list[str]] = {arm: [title] for arm, title in _SHOWN.items()}
    head = [""]
    for net, title in _TITLES.items():
        of_net = table[table["net"] == net]
        dense = 100 * of_net.groupby("seed")["dense_accuracy"].first().mean()
        for number, (times, own) in enumerate(of_net.groupby("times")):
            head.append(f"/ {times}" if number else f"{title}, dense {dense:.1f}, macs / {times}")
            rivals = own[own["arm"].isin(_RIVALS)].groupby("arm")["accuracy"].mean()
            best = "" if rivals.empty else rivals.idxmax()
            for arm, cells in rows.items():
                runs = own[own["arm"] == (best if arm == "torch-pruning" else arm)]
                values = 100 * runs["accuracy"]
                found = f"{values.mean():.1f} ± {values.std():.1f}, {runs['seconds'].mean():.0f} s"
                cells.append(found if len(values) > 1 else "")
    return "## In short\n\n" + _rows([head, ["---"] * len(head), *rows.values()]) + "\n"


def _accuracy(table: pd.DataFrame) -> str:
    """Return a table of means and standard deviations for each net, and what the issue is about below it."""
    text = [
        "## Test accuracy and time at equal multiply-adds\n\nFashion-MNIST, mean ± standard deviation over seeds "
        "(their number in brackets), percent; seconds of training, scoring and pruning on one thread.\n"
    ]
    for net, own in table.groupby("net", sort=False):
        dense = 100 * own.groupby("seed")["dense_accuracy"].first()
        rows = {}
        for arm, runs in own.groupby("arm", sort=False):
            cells = {}
            for times, found in runs.groupby("times"):
                values = 100 * found["accuracy"]
                spread = f" ± {values.std():.2f}" if len(values) > 1 else ""
                cells[f"macs / {times}"] = f"{values.mean():.2f}{spread} ({len(values)})"
                cells[f"seconds / {times}"] = f"{found['seconds'].mean():.0f}"
            rows[arm] = cells
        shown = pd.DataFrame.from_dict(rows, orient="index").fillna("").rename_axis("arm").reset_index()
        shown = shown[["arm", *sorted(shown.columns[1:])]]
        text += [f"### {net}, dense {dense.mean():.2f}\n", _markdown(shown), "", _differences(own), ""]
    return "\n".join(text)


def _differences(table: pd.DataFrame) -> str:
    """Return by how much prunekit is ahead, over the seeds that both have, and the ratios of time."""
    lines = []
    for times, own in table.groupby("times"):
        runs = own.pivot_table(index="seed", columns="arm", values="accuracy")
        seconds = own.pivot_table(index="seed", columns="arm", values="seconds")
        if "prunekit" not in runs:
            continue
        parts = []
        for arm in runs.columns.drop("prunekit"):
            ahead = 100 * (runs["prunekit"] - runs[arm]).dropna()
            ratio = (seconds["prunekit"] / seconds[arm]).dropna()
            if len(ahead):
                spread = f" ± {ahead.std():.2f}" if len(ahead) > 1 else ""
                parts.append(f"{arm} {ahead.mean():+.2f}{spread} points, {ratio.median():.2f} of its time")
        lines.append(f"- macs / {times}, prunekit against: {'; '.join(parts)}.")
        rivals = [arm for arm in _RIVALS if arm in runs]
        if rivals:
            best = runs[rivals].mean().idxmax()
            lines.append(f"  The better of Torch-Pruning's two is {best}.")
    return "\n".join(lines)


def _markdown(table: pd.DataFrame) -> str:
    """Return a table in Markdown."""
    rows = [[f"{value:.4g}" if isinstance(value, float) else str(value) for value in row] for row in table.to_numpy()]
    head = [str(name) for name in table.columns]
    return _rows([head, ["---"] * len(head), *rows])


def _rows(rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)
