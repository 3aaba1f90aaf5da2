"""Numbers and reasons as people read them: one way for reports, tables, pictures and the terminal."""

STOP_REASONS = {
    "target_reduction": "target reached",
    "min_score": "more would break min_score",
    "max_score_drop": "more would break max_score_drop",
    "nothing_left_to_prune": "nothing else can be pruned",
    "interrupted": "interrupted",
}
"""What the stop reasons of a pruner mean."""

_EXACT = 100_000
"""Counts from here on are rounded to three digits."""
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_TOO_SMALL = 5e-4
"""Changes below this, half of a tenth of a percent, are shown as none."""


def count_text(value: float) -> str:
    """
    Return a number of things.

    Parameters
    ----------
    value : float
        The number.

    Returns
    -------
    str
        Such as "9,999" or "25.6 M".
    """
    return _short(value, "", _EXACT)


def bytes_text(value: float) -> str:
    """
    Return a number of bytes.

    Parameters
    ----------
    value : float
        The number.

    Returns
    -------
    str
        Such as "999 B" or "56.1 MB", of powers of 1000.
    """
    return _short(value, "B", 1000)


def percent_text(fraction: float, digits: int = 1) -> str:
    """
    Return a fraction in percent.

    Parameters
    ----------
    fraction : float
        The fraction, 1 for all.
    digits : int, default=1
        Number of digits behind the point.

    Returns
    -------
    str
        Such as "30.0 %".
    """
    return f"{100 * fraction:.{digits}f} %".replace("-", "−")


def change_text(reduction: float) -> str:
    """
    Return a removed fraction as a change.

    Parameters
    ----------
    reduction : float
        What is gone, 1 for all, below zero for what has come.

    Returns
    -------
    str
        Such as "−30.0 %", or "0 %" if nothing changed.
    """
    if abs(reduction) < _TOO_SMALL:
        return "0 %"
    return f"{'−' if reduction > 0 else '+'}{percent_text(abs(reduction))}"


def _short(value: float, unit: str, first: int) -> str:
    """Return a number with three digits and a prefix, without one if it is smaller than `first`."""
    if abs(round(value)) < first:
        return f"{value:,.0f} {unit}".rstrip()
    rounded = float(f"{value:.3g}")  # before the prefix is chosen: 999.9 thousand are a million
    power, prefix = next((one for one in _PREFIXES if abs(rounded) >= one[0]), _PREFIXES[-1])
    scaled = rounded / power
    return f"{scaled:,.0f} {prefix}{unit}" if abs(scaled) >= 1000 else f"{scaled:.3g} {prefix}{unit}"
