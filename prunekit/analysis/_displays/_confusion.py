"""Which classes are told apart better or worse after pruning, drawn."""

from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import confusion_matrix
from sklearn.utils.multiclass import unique_labels

from prunekit.analysis._displays._drawing import (
    BLUE,
    FONT_POINTS,
    ORANGE,
    height_points,
    legend_above,
    panels_for,
    width_points,
)
from prunekit.exceptions import ParameterError, ParameterTypeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OWNER = "ConfusionChangeDisplay"
_INCHES_A_CLASS, _FEWEST_INCHES, _MOST_INCHES = 0.32, 2.4, 6.5
_SMALLEST_FONT, _LETTER_WIDTH = 5.0, 0.6
_DARK = 0.55


class ConfusionChangeDisplay:
    """
    The confusion matrix before pruning, after it, and the difference of the two.

    In the third panel a cell says how many more samples (or what larger fraction) are in it after pruning. It is blue
    where that is better: on the diagonal more, beside it fewer; it is orange and has a frame where it is worse.

    Parameters
    ----------
    before, after : array-like of shape (n_classes, n_classes)
        Confusion matrices, as `sklearn.metrics.confusion_matrix` returns them: a row a true class, a column a
        predicted one.
    display_labels : array-like of shape (n_classes,), default=None
        Names of the classes; None: their numbers.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes, shape (3,)
        Panels of the plot.
    figure_ : matplotlib Figure
        Figure of the plot.
    images_ : list of matplotlib AxesImage
        Cells of each panel.
    texts_ : list of dict of (int, int) to matplotlib Text
        Numbers of each panel, by row and column; cells with zero have none. Empty where there are so many classes that
        no number fits into a cell.
    frames_ : matplotlib PatchCollection
        Frames of the cells that are worse.

    Raises
    ------
    ParameterError
        If the matrices are not square, not of one size, or not finite.
    ParameterTypeError
        If they hold something else than numbers.

    See Also
    --------
    sklearn.metrics.ConfusionMatrixDisplay : One confusion matrix.

    Examples
    --------
    >>> from prunekit import ConfusionChangeDisplay
    >>> y = [0, 0, 0, 1, 1, 1]
    >>> display = ConfusionChangeDisplay.from_predictions(y, [0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 1])
    >>> {cell: text.get_text() for cell, text in display.texts_[2].items()}
    {(0, 0): '−1', (0, 1): '+1'}
    """

    def __init__(self, before: ArrayLike, after: ArrayLike, *, display_labels: ArrayLike | None = None) -> None:
        self.before = _matrix("before", before)
        self.after = _matrix("after", after)
        if self.after.shape != self.before.shape:
            raise ParameterError(
                f"The 'after' parameter of {_OWNER} must have the shape of 'before', {self.before.shape}. "
                f"Got an array of shape {self.after.shape} instead."
            )
        size = len(self.before)
        self.display_labels = np.arange(size) if display_labels is None else np.array(display_labels, dtype=object)
        if self.display_labels.shape != (size,):
            raise ParameterError(
                f"The 'display_labels' parameter of {_OWNER} must hold a name for each of the {size} classes. "
                f"Got an array of shape {self.display_labels.shape} instead."
            )

    @classmethod
    def from_estimators(
        cls,
        before: Any,
        after: Any,
        X: Any,
        y: Any,
        *,
        labels: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        normalize: Literal["true", "pred", "all"] | None = None,
        display_labels: ArrayLike | None = None,
        ax: "Axes | NDArray[Any] | None" = None,
        **kwargs: Any,
    ) -> Self:
        """
        Draw what two fitted classifiers predict.

        Parameters
        ----------
        before, after : fitted classifiers
            The dense net and the pruned one, or a pruner; both predict labels as they are in ``y``.
        X : array, tensor, dict of those, or Dataset
            Samples that neither has seen.
        y : array-like of shape (n_samples,)
            Their labels.
        labels, sample_weight, normalize, display_labels, ax, **kwargs : object
            As in `from_predictions`.

        Returns
        -------
        ConfusionChangeDisplay
            The display, drawn.

        Raises
        ------
        ParameterTypeError
            If one of the two does not predict.
        ParameterError
            If predictions and labels do not fit each other.
        MissingDependencyError
            If matplotlib is not installed.
        """
        for name, estimator in (("before", before), ("after", after)):
            if not hasattr(estimator, "predict"):
                raise ParameterTypeError(
                    f"The '{name}' parameter of {_OWNER}.from_estimators must be a fitted classifier. "
                    f"Got {type(estimator).__name__} instead."
                )
        return cls.from_predictions(
            y,
            before.predict(X),
            after.predict(X),
            labels=labels,
            sample_weight=sample_weight,
            normalize=normalize,
            display_labels=display_labels,
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_before: ArrayLike,
        y_after: ArrayLike,
        *,
        labels: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        normalize: Literal["true", "pred", "all"] | None = None,
        display_labels: ArrayLike | None = None,
        ax: "Axes | NDArray[Any] | None" = None,
        **kwargs: Any,
    ) -> Self:
        """
        Draw predictions.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            The labels.
        y_before, y_after : array-like of shape (n_samples,)
            What was predicted before and after pruning.
        labels : array-like of shape (n_classes,), default=None
            Classes to draw, in this order. None: all that occur, sorted.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.
        normalize : {"true", "pred", "all"}, default=None
            Whether to draw fractions: of the samples of a true class, of a predicted one, or of all.
        display_labels : array-like of shape (n_classes,), default=None
            Names of the classes; None: the labels.
        ax : matplotlib Axes or array of 3 of them, default=None
            Where to draw; None makes a figure. One axes is divided into panels.
        **kwargs : dict
            Passed on to `plot`.

        Returns
        -------
        ConfusionChangeDisplay
            The display, drawn.

        Raises
        ------
        ParameterError
            If predictions and labels do not fit each other.
        MissingDependencyError
            If matplotlib is not installed.
        """
        try:
            chosen = unique_labels(y_true, y_before, y_after) if labels is None else np.array(labels)
            options = {"labels": chosen, "sample_weight": sample_weight, "normalize": normalize}
            before, after = (confusion_matrix(y_true, predicted, **options) for predicted in (y_before, y_after))
        except (ValueError, TypeError) as exc:
            raise ParameterError(
                f"The 'y_before' and 'y_after' parameters of {_OWNER}.from_predictions must hold predictions of the "
                f"labels in 'y_true'. Got something else instead: {exc}"
            ) from exc
        names = chosen if display_labels is None else display_labels
        return cls(before, after, display_labels=names).plot(ax, **kwargs)

    def plot(
        self,
        ax: "Axes | NDArray[Any] | None" = None,
        *,
        names: tuple[str, str] = ("Before pruning", "After pruning"),
        values_format: str | None = None,
        im_kw: dict[str, Any] | None = None,
        text_kw: dict[str, Any] | None = None,
    ) -> Self:
        """
        Draw.

        Parameters
        ----------
        ax : matplotlib Axes or array of 3 of them, default=None
            Where to draw; None makes a figure. One axes is divided into panels.
        names : tuple of str, default=("Before pruning", "After pruning")
            Titles of the first two panels.
        values_format : str, default=None
            Format of the numbers, without a sign. None: ``","`` for counts, ``".2f"`` for fractions, without the
            zero in front of the point.
        im_kw : dict, default=None
            Passed on to ``matplotlib.axes.Axes.imshow`` for the first two panels.
        text_kw : dict, default=None
            Passed on to ``matplotlib.axes.Axes.text``.

        Returns
        -------
        ConfusionChangeDisplay
            The display itself.

        Raises
        ------
        ParameterError
            If there are not three axes.
        MissingDependencyError
            If matplotlib is not installed.
        """
        size = len(self.before)
        side = float(np.clip(_INCHES_A_CLASS * size, _FEWEST_INCHES, _MOST_INCHES))
        names_wide = 0.075 * max(len(str(label)) for label in self.display_labels)
        self.axes_ = panels_for(ax, f"{_OWNER}.plot", 1, 3, (3 * side + 1.4 + 2 * names_wide, side + 1.3 + names_wide))
        self.figure_ = self.axes_[0].get_figure(root=True)
        form = values_format or ("," if self.before.dtype.kind in "iu" else ".2f")
        change = self.after - self.before
        plain = {"cmap": "Blues", "norm": _root_norm(max(self.before.max(), self.after.max())), **(im_kw or {})}
        better = np.where(np.eye(size, dtype=bool), change, -change)
        self.images_ = [
            self.axes_[0].imshow(self.before, **plain),
            self.axes_[1].imshow(self.after, **plain),
            self.axes_[2].imshow(np.sign(better) * np.sqrt(np.abs(better)), **_diverging(better)),
        ]
        self.frames_ = _frame(self.axes_[2], better < 0)
        self.texts_ = [
            _write(panel, image, values, spec, text_kw or {})
            for panel, image, values, spec in zip(
                self.axes_, self.images_, (self.before, self.after, change), (form, form, f"+{form}"), strict=True
            )
        ]
        self._describe(names, change)
        return self

    def _describe(self, names: tuple[str, str], change: NDArray[Any]) -> None:
        """Write titles, legend and labels."""
        from matplotlib.patches import Patch

        titles = [name + _right(matrix) for name, matrix in zip(names, (self.before, self.after), strict=True)]
        for panel, title in zip(self.axes_, [*titles, "Change"], strict=True):
            panel.set_title(title, loc="left", fontsize="medium", pad=22 if title == "Change" else None)
            panel.set_xlabel("Predicted class")
            _label_classes(panel, [str(label) for label in self.display_labels])
            panel.spines[:].set_color("0.6")
        self.axes_[0].set_ylabel("True class")
        handles = [
            Patch(facecolor=BLUE, label="better"),
            Patch(facecolor=ORANGE, edgecolor="black", linewidth=1.2, label="worse"),
        ]
        if change.any():
            legend_above(self.axes_[2], 2, handles=handles)


def _matrix(name: str, values: ArrayLike) -> NDArray[Any]:
    matrix = np.array(values)
    if matrix.dtype.kind not in "iuf":
        raise ParameterTypeError(
            f"The '{name}' parameter of {_OWNER} must hold numbers. Got values of type {matrix.dtype} instead."
        )
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ParameterError(
            f"The '{name}' parameter of {_OWNER} must be a square matrix. Got an array of shape {matrix.shape} instead."
        )
    if not np.isfinite(matrix).all():
        raise ParameterError(f"The '{name}' parameter of {_OWNER} must hold finite numbers. Got NaN or inf instead.")
    return matrix.astype(np.int64) if matrix.dtype.kind == "u" else matrix


def _root_norm(largest: float) -> Any:
    """Return a scale of square roots, on which single errors are seen beside hundreds of right answers."""
    from matplotlib.colors import PowerNorm

    return PowerNorm(0.5, vmin=0, vmax=float(largest) or 1.0)


def _diverging(better: NDArray[Any]) -> dict[str, Any]:
    from matplotlib.colors import LinearSegmentedColormap

    largest = float(np.sqrt(np.abs(better).max())) or 1.0
    return {"cmap": LinearSegmentedColormap.from_list("", [ORANGE, "white", BLUE]), "vmin": -largest, "vmax": largest}


def _frame(panel: "Axes", cells: NDArray[np.bool_]) -> Any:
    """Draw a frame around cells."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    width = float(np.clip(14 / len(cells), 0.4, 1.4))
    frames = [Rectangle((column - 0.46, row - 0.46), 0.92, 0.92) for row, column in np.argwhere(cells).tolist()]
    made = PatchCollection(frames, facecolor="none", edgecolor="black", linewidth=width, zorder=3)
    panel.add_collection(made)
    return made


def _write(
    panel: "Axes", image: Any, values: NDArray[Any], form: str, text_kw: dict[str, Any]
) -> dict[tuple[int, int], Any]:
    """Write numbers into the cells, as large as the cells allow; none if they would be too small."""
    cells = [(row, column) for row, column in np.argwhere(values != 0).tolist()]
    shown = {cell: _shown(values[cell].item(), form) for cell in cells}
    room = min(width_points(panel), height_points(panel)) / len(values)
    longest = max((len(text) for text in shown.values()), default=1)
    font = min(10.0, 0.62 * room, 0.9 * room / (_LETTER_WIDTH * longest))
    if font < _SMALLEST_FONT:
        return {}
    luminance = image.cmap(image.norm(image.get_array()))[..., :3] @ np.array([0.299, 0.587, 0.114])
    made = {}
    for (row, column), text in shown.items():
        colour = "white" if luminance[row, column] < _DARK else "black"
        style = {"ha": "center", "va": "center", "fontsize": font, "color": colour, "zorder": 4}
        made[row, column] = panel.text(column, row, text, **{**style, **text_kw})
    return made


def _shown(number: float, form: str) -> str:
    """Return a number as it is written into a cell, as short as can be."""
    text = format(number, form)
    sign = text[0] if text[0] in "+-" else ""
    digits = text.removeprefix(sign)
    return sign.replace("-", "−") + (digits[1:] if digits.startswith("0.") else digits)


def _right(matrix: NDArray[Any]) -> str:
    """Return how many predictions are right, if they were counted."""
    if matrix.dtype.kind != "i" or not matrix.sum():
        return ""
    right, total = int(np.trace(matrix)), int(matrix.sum())
    return f"\n{right:,} of {total:,} right ({100 * right / total:.1f} %)"


def _label_classes(panel: "Axes", labels: list[str]) -> None:
    """Write the names of the classes, upright where they are long, every second or third where there are many."""
    room = width_points(panel) / len(labels)
    longest = max(map(len, labels))
    upright = longest * _LETTER_WIDTH * FONT_POINTS > room
    step = max(1, int(np.ceil(1.3 * FONT_POINTS / room)))
    ticks = range(0, len(labels), step)
    panel.set_xticks(ticks, labels[::step], rotation=90 if upright and longest > 2 else 0, fontsize=FONT_POINTS)
    panel.set_yticks(ticks, labels[::step], fontsize=FONT_POINTS)
    panel.tick_params(length=0)
