"""Draw overview.png: what the main job of the README prunes, and how it goes. Run it from anywhere."""

from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib as mpl
from matplotlib import pyplot as plt
from PIL import Image

from prunekit import LayerReductionDisplay, PruningPathDisplay
from prunekit.pipeline import load_experiment, run_experiment
from prunekit.pipeline.runner import Listener

FOLDER = Path(__file__).resolve().parent
EXPERIMENT = FOLDER.parents[1] / "pipelines" / "digits.yaml"
WIDTH_PX, HEIGHT_PX, SHARPNESS = 900, 360, 2
"""Size on the page, and pixels of the file for each of its pixels."""


class Keeper(Listener):
    """Keeps the pruner of a run."""

    def on_fitted(self, fitted):
        """Keep it."""
        self.pruner = fitted.pruner


def run_main_job():
    """Return the pruner of the main job."""
    keeper = Keeper()
    with TemporaryDirectory() as folder:
        run_experiment(load_experiment(EXPERIMENT), Path(folder) / "run", keeper)
    return keeper.pruner


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
    save(draw(run_main_job()), FOLDER / "overview.png")
