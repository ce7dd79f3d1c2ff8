"""Figures at the precision that a reader sees: comparisons are of these, so that words and figures cannot disagree."""

from decimal import Decimal

PLACES = 3
"""Decimals of a score wherever it is printed."""


def difference(minuend: float | None, subtrahend: float | None, places: int = PLACES) -> float | None:
    """What is between two figures as they are printed; None if one of them is not known."""
    if minuend is None or subtrahend is None:
        return None
    return float(_printed(minuend, places) - _printed(subtrahend, places))


def sign(change: float | None) -> int:
    """1 for up, -1 for down, 0 for a change that is printed as nothing, and for what is not known."""
    printed = _printed(change or 0.0, PLACES)
    return (printed > 0) - (printed < 0)


def _printed(value: float, places: int) -> Decimal:
    return Decimal(f"{value:.{places}f}")
