"""How far a run is: a bar where somebody looks on, plain lines in a log."""

import logging
import multiprocessing
import sys
import time
from typing import Any, Protocol, Self

from tqdm import tqdm as terminal_tqdm
from tqdm.auto import tqdm

_LOGGER = logging.getLogger("prunekit")
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
_COUNTER = "{desc}: {n_fmt} {unit} [{elapsed}{postfix}]"  # where it is not known how many are to come


class _View(Protocol):
    """What is seen of a run."""

    def expect(self, left: int) -> None: ...
    def skip(self, done: int) -> None: ...
    def tick(self) -> None: ...
    def note(self, facts: str) -> None: ...
    def show(self, stage: str, facts: str) -> None: ...
    def close(self, done: bool) -> None: ...


class Progress:
    """
    Show how far a run is and how long it will take.

    On a terminal and in a notebook it is a bar of `tqdm`. Everywhere else, and in worker processes, whose bars would
    write over each other, it is lines: records of the logger ``"prunekit"`` where logging is set up for its level INFO,
    lines on the standard error where it is not.

    Parameters
    ----------
    description : str
        What is done.
    shown : bool
        Whether anything is shown.
    unit : str, default="batches"
        What is counted.
    interval : float, default=30.0
        Seconds after which a line is written although no new stage has begun.
    drawn : bool, default=True
        Whether a bar is drawn where somebody looks on; if not, nothing is seen there, as whatever else is printed while
        the run goes on is not to be torn apart.
    """

    def __init__(
        self, description: str, shown: bool, unit: str = "batches", interval: float = 30.0, *, drawn: bool = True
    ) -> None:
        self._description = description
        self._shown = shown
        self._unit = unit
        self._interval = interval
        self._drawn = drawn
        self._view: _View | None = None

    def __enter__(self) -> Self:
        """Begin."""
        if self._shown and not _somebody_looks_on():
            self._view = _Lines(self._description, self._unit, self._interval)
        elif self._shown and self._drawn:
            self._view = _Bar(self._description, self._unit)
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        """End; what was seen last stays."""
        view, self._view = self._view, None
        if view is not None:
            view.close(done=kind is None)

    def expect(self, left: int) -> None:
        """
        Tell how many are still to come.

        Parameters
        ----------
        left : int
            How many, 0 if it is not known.
        """
        if self._view is not None:
            self._view.expect(left)

    def skip(self, done: int) -> None:
        """
        Count some that were done before.

        Parameters
        ----------
        done : int
            How many.
        """
        if self._view is not None:
            self._view.skip(done)

    def tick(self) -> None:
        """Count one."""
        if self._view is not None:
            self._view.tick()

    def show(self, stage: str, *facts: str) -> None:
        """
        Show what is done now, and what is reached.

        Parameters
        ----------
        stage : str
            What is done now.
        *facts : str
            What is reached.
        """
        if self._view is not None:
            self._view.show(stage, ", ".join(facts))

    def note(self, *facts: str) -> None:
        """
        Note what is reached, to be shown with the next that is counted.

        Parameters
        ----------
        *facts : str
            What is reached.
        """
        if self._view is not None:
            self._view.note(", ".join(facts))


class _Bar:
    """A bar that is drawn over itself; tqdm puts the bars of several threads below each other."""

    def __init__(self, description: str, unit: str) -> None:
        # None wipes a bar that stands below another one at the end; in a notebook it would wipe every bar.
        leave = True if _in_notebook() else None
        self._bar: Any = tqdm(
            desc=description, unit=unit, bar_format=_COUNTER, smoothing=0.05, leave=leave, dynamic_ncols=True
        )

    def expect(self, left: int) -> None:
        self._set_total(self._bar.n + left if left else None)
        self._bar.refresh()

    def _set_total(self, total: int | None) -> None:
        self._bar.total = total
        self._bar.bar_format = _BAR if total else _COUNTER
        container = getattr(self._bar, "container", None)
        if container is not None:  # of a notebook; its bar knows only the total that it began with (tqdm 4.70)
            widget = container.children[1]
            widget.max, widget.bar_style = (total, "") if total else (1, "info")

    def skip(self, done: int) -> None:
        self._bar.n = self._bar.initial = self._bar.n + done

    def tick(self) -> None:
        self._bar.update()

    def note(self, facts: str) -> None:
        self._bar.set_postfix_str(facts, refresh=False)

    def show(self, stage: str, facts: str) -> None:
        self._bar.set_description_str(stage, refresh=False)
        self._bar.set_postfix_str(facts)

    def close(self, done: bool) -> None:
        if done:  # a run may end before all that was expected
            self._set_total(self._bar.n)
        self._bar.close()


class _Lines:
    """A line for every stage, and one now and then in between."""

    def __init__(self, description: str, unit: str, interval: float) -> None:
        self._stage, self._facts = description, ""
        self._unit = unit
        self._interval = interval
        self._count = self._skipped = 0
        self._total: int | None = None
        self._begin = self._last = time.monotonic()

    def expect(self, left: int) -> None:
        self._total = self._count + left if left else None

    def skip(self, done: int) -> None:
        self._count += done
        self._skipped += done

    def note(self, facts: str) -> None:
        self._facts = facts

    def tick(self) -> None:
        self._count += 1
        if time.monotonic() >= self._last + self._interval:
            self._write()

    def show(self, stage: str, facts: str) -> None:
        self._stage, self._facts = stage, facts
        self._write()

    def close(self, done: bool) -> None:
        if not done:
            self._stage = f"Broken off in {self._stage}"
            self._write()

    def _write(self) -> None:
        self._last = time.monotonic()
        elapsed = self._last - self._begin
        known = self._total is not None
        parts = [f"{self._count}/{self._total} {self._unit}" if known else f"{self._count} {self._unit}"]
        parts.append(f"{_clock(elapsed)} elapsed")
        if self._total is not None and self._total > self._count > self._skipped:
            each = elapsed / (self._count - self._skipped)
            parts.append(f"about {_clock(each * (self._total - self._count))} left")
        line = f"{self._stage}: {', '.join([self._facts, *parts] if self._facts else parts)}"
        if _LOGGER.hasHandlers() and _LOGGER.isEnabledFor(logging.INFO):
            _LOGGER.info("%s", line)
        elif sys.stderr is not None:  # as it is in a program without a console
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()


def _somebody_looks_on() -> bool:
    """Return whether a bar can be drawn over itself: on the terminal of the main process, or in a notebook."""
    if multiprocessing.parent_process() is not None:
        return False
    return _in_notebook() or (sys.stderr is not None and sys.stderr.isatty())


def _in_notebook() -> bool:
    """Return whether tqdm draws widgets."""
    return any(base.__module__ == "tqdm.notebook" for base in tqdm.__mro__)


def _clock(seconds: float) -> str:
    """Return a time as tqdm writes it."""
    shown: str = terminal_tqdm.format_interval(seconds)
    return shown
