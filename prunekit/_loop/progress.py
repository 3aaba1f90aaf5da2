"""The progress bar."""

from typing import Any, Self

from tqdm.auto import tqdm


class Progress:
    """
    Show how far a run is and how long it will take.

    Parameters
    ----------
    description : str
        What is done.
    shown : bool
        Whether anything is shown.
    """

    def __init__(self, description: str, shown: bool) -> None:
        self._bar: Any = tqdm(total=0, unit=" batches", disable=not shown, desc=description, smoothing=0.05)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the bar as it is."""
        self._bar.close()

    def expect(self, batches_left: int) -> None:
        """
        Tell how many mini-batches are still to come.

        Parameters
        ----------
        batches_left : int
            How many, 0 if it is not known.
        """
        self._bar.total = self._bar.n + batches_left if batches_left else None
        self._bar.refresh()

    def tick(self) -> None:
        """Count a mini-batch."""
        self._bar.update()

    def show(self, stage: str, **values: str) -> None:
        """
        Show what is reached.

        Parameters
        ----------
        stage : str
            What is done now.
        **values : str
            What is reached.
        """
        self._bar.set_description(stage, refresh=False)
        self._bar.set_postfix(values)
