"""Draw overview.png: what the first example of the README prunes, and how it goes. Run it from anywhere."""

import re
from contextlib import redirect_stdout
from io import BytesIO, StringIO
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from PIL import Image

from prunekit import LayerReductionDisplay, PruningPathDisplay

FOLDER = Path(__file__).resolve().parent
README = FOLDER.parents[1] / "README.md"
WIDTH_PX, HEIGHT_PX, SHARPNESS = 900, 360, 2
"""Size on the page, and pixels of the file for each of its pixels."""


def fit_example():
    """Return the pruner that the first example of the README fits."""
    code = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[1]
    names = {"__name__": "__main__"}
    with redirect_stdout(StringIO()):
        exec(compile(code, str(README), "exec"), names)
    return names["pruner"]


def draw(pruner):
    """Return a figure of its layers and of its path."""
    dpi = 100 * SHARPNESS
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(WIDTH_PX / 100, HEIGHT_PX / 100), dpi=dpi, layout="constrained", width_ratios=(1, 1.1)
    )
    LayerReductionDisplay.from_estimator(pruner).plot(ax=left)
    PruningPathDisplay.from_estimator(pruner).plot(ax=right)
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    return figure


def save(figure, path):
    """Write a figure on white, which is read on dark pages as well, with a palette: a third of the bytes."""
    file = BytesIO()
    figure.savefig(file, facecolor="white")
    Image.open(file).convert("RGB").quantize(64).save(path, optimize=True)


if __name__ == "__main__":
    mpl.use("agg")
    save(draw(fit_example()), FOLDER / "overview.png")
