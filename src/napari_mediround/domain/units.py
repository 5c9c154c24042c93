"""Areas and volumes in words, in the unit that suits their size. Values only."""

from __future__ import annotations

CM2_FROM_MM2, L_FROM_ML = 1000.0, 1000.0
"""An area reads in cm² from so many mm² on, a volume in litres from so many ml on."""


def area_in_words(area: float, unit: str = "mm²") -> str:
    """Return an area in mm² as a person reads it; one in another unit (px) stays in that.

    >>> area_in_words(7.27), area_in_words(640), area_in_words(16671), area_in_words(1234, "px")
    ('7.3 mm²', '640 mm²', '167 cm²', '1,234 px')
    """
    if unit != "mm²":
        return f"{area:,.0f} {unit}"
    return f"{_three_digits(area / 100)} cm²" if area >= CM2_FROM_MM2 else f"{_three_digits(area, 1)} mm²"


def volume_in_words(ml: float) -> str:
    """Return a volume as a person reads it.

    >>> volume_in_words(0.0642), volume_in_words(12.34), volume_in_words(1523)
    ('0.06 ml', '12.3 ml', '1.52 l')
    """
    return f"{_three_digits(ml / 1000)} l" if ml >= L_FROM_ML else f"{_three_digits(ml)} ml"


def _three_digits(number: float, most: int = 2) -> str:
    """Return a number with three digits, at most `most` of them after the point, no zero too many."""
    places = next((n for n, least in enumerate((100, 10, 1)) if round(number, n) >= least), 2)
    return f"{number:,.{min(places, most)}f}"
