"""Ratings as texts: stars become decimals that are drawn within a band of each star (P5).

A model that writes "4" for every four stars learns five strings and ignores how near they are; with
41 strings, "1.0" to "5.0", neighbours differ by a digit.

Source: Geng et al., Recommendation as Language Processing (P5), RecSys 2022, section 4.1.
"""

import numpy as np

from jaxrec.core import DataError

# The tenths that each star's band begins and ends with.
BANDS = {1: (10, 14), 2: (15, 24), 3: (25, 34), 4: (35, 44), 5: (45, 50)}
TEXTS = tuple(f"{tenths / 10:.1f}" for tenths in range(10, 51))


def rating_text(star: float, rng: np.random.Generator) -> str:
    """Draw a decimal for a whole star: Gaussian around its band's middle, σ a quarter of the band.

    Raises:
      DataError: no whole number of 1 to 5.
    """
    low, high = _band(star)
    tenths = round(rng.normal((low + high) / 2, (high - low) / 4))
    return TEXTS[min(max(tenths, low), high) - 10]


def star_of(text: str) -> int | None:
    """The star in whose band a rating text lies; None for other texts."""
    if text not in TEXTS:
        return None
    tenths = TEXTS.index(text) + 10
    return next(star for star, (_, high) in BANDS.items() if tenths <= high)


def _band(star: float) -> tuple[int, int]:
    if star not in BANDS:
        raise DataError(f"a rating of {star} is none of {', '.join(map(str, BANDS))} stars")
    return BANDS[int(star)]
