"""Reviews of interactions, and synthetic reviews for data sets without any.

A synthetic review only depends on its row: its words express the rating and one of the item's
categories. Such reviews test whether a model uses the hint in its prompt. Figures on them say
nothing about reviews that people write.
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
# Shorter words of an item's fields ("for", "set") are not features of the item.
_SHORTEST = 4


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Reviews:
    """Review texts for the rows of an `Interactions`, n strings each.

    Attributes:
      title: titles.
      text: full texts.
      explanation: the sentence of the text that contains the hint; "" if there is no hint.
      hint: the word that the review is about; "" if there is none.
      synthetic: whether the reviews are generated rather than written by people.
    """

    title: list[str]
    text: list[str]
    explanation: list[str]
    hint: list[str]
    synthetic: bool


def synthetic_reviews(interactions: Interactions, field: str = "genres") -> Reviews:
    """Generate a review for every row from its rating and one of the item's categories.

    Args:
      interactions: interactions whose ratings are whole stars from 1 to 5.
      field: item field that lists the categories.

    Raises:
      DataError: the items do not have the field, or a rating is not a whole star from 1 to 5.

    Example:
      >>> items = {"a": {"genres": "Drama"}}
      >>> data = Interactions.from_columns(user=["u"], item=["a"], rating=[5], items=items)
      >>> synthetic_reviews(data).text
      ['a superb film with all that drama can offer , i loved every minute of it']
    """
    fields = interactions.items.fields
    if field not in fields:
        known = ", ".join(fields) or "none"
        raise DataError(
            f"no item field {field!r}{nearest(field, fields)}; fields: {known}; synthetic reviews "
            "are made of it: give a file of reviews, or leave out the tasks that need them"
        )
    stars = interactions.rating
    if not np.isin(stars, list(_MOODS)).all():
        other = stars[~np.isin(stars, list(_MOODS))][0]
        raise DataError(
            f"synthetic reviews need ratings of 1 to 5 whole stars, got {other}; give such ratings "
            "(--data.rating-column) or a file of reviews, or leave out the tasks that need them"
        )
    names = [[name.lower() for name in text.split(SEPARATOR) if name] for text in fields[field]]
    texts: dict[str, list[str]] = {"title": [], "text": [], "explanation": [], "hint": []}
    columns = (interactions.user, interactions.item, stars)
    for user, item, star in zip(*(column.tolist() for column in columns), strict=True):
        choices = names[item] or [_PLAIN]
        # The choice is determined by the row, and differs between users.
        hint = choices[(7 * user + item) % len(choices)]
        mood = _MOODS[int(star)][(user + 3 * item) % 3]
        explanation = f"a {mood} film with all that {hint} can offer"
        texts["hint"].append(hint)
        texts["explanation"].append(explanation)
        texts["title"].append(f"{mood} {hint}")
        texts["text"].append(f"{explanation} , {_VERDICTS[int(star)]}")
    return Reviews(**texts, synthetic=True)


def review_text(text: str) -> str:
    """Write a text as reviews are written here, so that both can be compared word by word.

    Example:
      >>> review_text("It's GREAT, really!")
      "it's great , really !"
    """
    return " ".join(_WORDS.findall(text.lower()))


def read_reviews(path: Path, interactions: Interactions) -> Reviews:
    """Read the texts of Amazon reviews for interactions that were read from the same file.

    Texts are lower-cased, with spaces around punctuation. The hint is the first word of a review
    that also occurs in the fields of its item, as a substitute for the features that P5 extracts.
    The explanation is the first sentence with the hint.

    Args:
      path: review file in JSON lines, see `read_amazon`.
      interactions: the interactions of that file, possibly filtered.

    Raises:
      DataError: the file is unreadable, or a review has another user or item than its interaction.
    """
    records = [record for _, record, _ in files.read_json_lines(path)]
    if len(records) <= int(interactions.row.max(initial=-1)):
        raise DataError(
            f"{path}: the file has only {len(records)} reviews, but interactions refer to row "
            f"{int(interactions.row.max(initial=-1)) + 1}; give the file that they were read from"
        )
    table = interactions.items
    features = [set(_WORDS.findall(text.lower())) for text in table.text(*table.fields)]
    texts: dict[str, list[str]] = {"title": [], "text": [], "explanation": [], "hint": []}
    columns = (interactions.row, interactions.user, interactions.item)
    for row, user, item in zip(*(column.tolist() for column in columns), strict=True):
        named = str(interactions.user_ids[user]), str(table.ids[item])
        if record_ids(records[row]) != named:
            raise DataError(
                f"{path}: review {row + 1} has user and item {record_ids(records[row])}, but its "
                f"interaction has {named}; give the file that the interactions were read from"
            )
        title, text = map(review_text, record_texts(records[row]))
        known = [w for w in text.split() if len(w) >= _SHORTEST and w in features[item]]
        hint = known[0] if known else ""
        sentences = [part for part in _END.split(text) if hint and hint in part.split()]
        texts["title"].append(title)
        texts["text"].append(text)
        texts["hint"].append(hint)
        texts["explanation"].append(sentences[0] if sentences else "")
    return Reviews(**texts, synthetic=False)
