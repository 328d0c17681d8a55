"""Ratings as texts: each star becomes a decimal number drawn from a band around it (P5).

A model that writes "4" for every four stars learns five unrelated strings. With the 41 strings
"1.0" to "5.0", neighbouring ratings differ by one digit.

Source: Geng et al., Recommendation as Language Processing (P5), RecSys 2022, section 4.1.
"""

import numpy as np

from jaxrec.core import DataError

# First and last tenth of each star's band.
BANDS = {1: (10, 14), 2: (15, 24), 3: (25, 34), 4: (35, 44), 5: (45, 50)}
TEXTS = tuple(f"{tenths / 10:.1f}" for tenths in range(10, 51))


def rating_text(star: float, rng: np.random.Generator) -> str:
    """Draw a decimal for a whole star, Gaussian around its band's middle, σ a quarter of the band.

    Raises:
      DataError: `star` is not a whole number from 1 to 5.

    Example:
      >>> star_of(rating_text(4.0, np.random.default_rng(0)))
      4
    """
    low, high = _band(star)
    tenths = round(rng.normal((low + high) / 2, (high - low) / 4))
    return TEXTS[min(max(tenths, low), high) - 10]


def star_of(text: str) -> int | None:
    """Return the star in whose band a rating text lies; None for other texts.

    Example:
      >>> star_of("3.6"), star_of("good")
      (4, None)
    """
    if text not in TEXTS:
        return None
    tenths = TEXTS.index(text) + 10
    return next(star for star, (_, high) in BANDS.items() if tenths <= high)


def _band(star: float) -> tuple[int, int]:
    if star not in BANDS:
        raise DataError(
            f"the rating {star} is not one of {', '.join(map(str, BANDS))} stars; prompts about "
            "ratings need whole stars"
        )
    return BANDS[int(star)]
