"""Reviews of interactions, and synthetic ones where a data set has none.

A synthetic review is a function of its row alone: the words say the rating, one of the item's
categories and nothing else. They test that a model says what its prompt hints at; no figure on them
says anything about reviews that people write.
"""

import dataclasses
import re
from pathlib import Path

import numpy as np

from jaxrec.core import DataError, nearest
from jaxrec.data import files
from jaxrec.data.amazon import record_ids, record_texts
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
_WORDS = re.compile(r"[\w']+|[.,!?]")
_END = re.compile(r"(?<=[.!?]) ")
# Shorter words of an item's fields ("for", "set") are no feature of it.
_SHORTEST = 4


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Reviews:
    """Texts of the rows of an `Interactions`, [n] strings each.

    Attributes:
      title: short.
      text: the whole.
      explanation: the sentence of the text that names the hint.
      hint: the word that the review is about; "", as the explanation is, where it names none.
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


def read_reviews(path: Path, interactions: Interactions) -> Reviews:
    """Read the texts of Amazon reviews for the interactions that were read from the same file.

    Texts are lower-cased, with spaces around punctuation. The hint is the first word of a review
    that is also one of its item's fields, which stands in for the features that P5 extracts, and
    the explanation is the first sentence with it.

    Args:
      path: JSON lines, see `read_amazon`.
      interactions: of that file, perhaps filtered.

    Raises:
      DataError: unreadable, or a row that is of another user or item than the interaction.
    """
    records = [record for _, record, _ in files.read_json_lines(path)]
    if len(records) <= int(interactions.row.max(initial=-1)):
        raise DataError(f"{path}: {len(records)} reviews, fewer than the interactions read of it")
    table = interactions.items
    features = [set(_WORDS.findall(text.lower())) for text in table.text(*table.fields)]
    found: dict[str, list[str]] = {"title": [], "text": [], "explanation": [], "hint": []}
    columns = (interactions.row, interactions.user, interactions.item)
    for row, user, item in zip(*(column.tolist() for column in columns), strict=True):
        named = str(interactions.user_ids[user]), str(table.ids[item])
        if record_ids(records[row]) != named:
            raise DataError(
                f"{path}: review {row + 1} is of {record_ids(records[row])}, the interaction of "
                f"{named}; give the file that the interactions were read from"
            )
        title, text = (" ".join(_WORDS.findall(t.lower())) for t in record_texts(records[row]))
        known = [w for w in text.split() if len(w) >= _SHORTEST and w in features[item]]
        hint = known[0] if known else ""
        sentences = [part for part in _END.split(text) if hint and hint in part.split()]
        found["title"].append(title)
        found["text"].append(text)
        found["hint"].append(hint)
        found["explanation"].append(sentences[0] if sentences else "")
    return Reviews(**found, synthetic=False)
