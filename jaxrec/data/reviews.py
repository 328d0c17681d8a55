"""Reviews of interactions, and synthetic ones where a data set has none.

A synthetic review is a function of its row alone: the words say the rating, one of the item's
categories and nothing else. They test that a model says what its prompt hints at; no figure on them
says anything about reviews that people write.
"""

import dataclasses

import numpy as np

from jaxrec.core.errors import DataError, nearest
from jaxrec.data.interactions import SEPARATOR, Interactions

_MOODS = {
    1: ("dreadful", "tedious", "hopeless"),
    2: ("weak", "flat", "clumsy"),
    3: ("fair", "passable", "uneven"),
    4: ("good", "engaging", "solid"),
    5: ("superb", "brilliant", "wonderful"),
}
_VERDICTS = {
    1: "i walked out early",
    2: "i would not watch it again",
    3: "i neither liked nor disliked it",
    4: "i liked it a lot",
    5: "i loved every minute of it",
}
_PLAIN = "plain"


@dataclasses.dataclass(frozen=True, eq=False)
class Reviews:
    """Texts of the rows of an `Interactions`, [n] strings each.

    Attributes:
      title: short.
      text: the whole.
      explanation: the sentence of the text that names the hint.
      hint: the word that the review is about.
      synthetic: whether nobody wrote them.
    """

    title: list[str]
    text: list[str]
    explanation: list[str]
    hint: list[str]
    synthetic: bool


def synthetic_reviews(interactions: Interactions, field: str = "genres") -> Reviews:
    """Write a review for every row from its rating and one of the item's categories.

    Args:
      interactions: with whole stars of 1 to 5 as ratings.
      field: of the item table that lists the categories.

    Raises:
      DataError: no such field, or other ratings.
    """
    fields = interactions.items.fields
    if field not in fields:
        known = ", ".join(fields) or "none"
        raise DataError(f"no item field {field!r}{nearest(field, fields)}; fields: {known}")
    stars = interactions.rating
    if not np.isin(stars, list(_MOODS)).all():
        other = stars[~np.isin(stars, list(_MOODS))][0]
        raise DataError(f"synthetic reviews need ratings of 1 to 5 whole stars, got {other}")
    names = [[name.lower() for name in text.split(SEPARATOR) if name] for text in fields[field]]
    found: dict[str, list[str]] = {"title": [], "text": [], "explanation": [], "hint": []}
    columns = (interactions.user, interactions.item, stars)
    for user, item, star in zip(*(column.tolist() for column in columns), strict=True):
        choices = names[item] or [_PLAIN]
        # Fixed by the row, and different from user to user.
        hint = choices[(7 * user + item) % len(choices)]
        mood = _MOODS[int(star)][(user + 3 * item) % 3]
        explanation = f"a {mood} film with all that {hint} can offer"
        found["hint"].append(hint)
        found["explanation"].append(explanation)
        found["title"].append(f"{mood} {hint}")
        found["text"].append(f"{explanation} , {_VERDICTS[int(star)]}")
    return Reviews(**found, synthetic=True)
