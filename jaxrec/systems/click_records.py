"""TALLRec's records as examples for the click mode of the sequential baselines."""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxrec.baselines.clicks import Clicks
from jaxrec.baselines.item_table import DISLIKED, LIKED
from jaxrec.core import DataError
from jaxrec.data.instructions import Instruction
from jaxrec.ids import pad_items
from jaxrec.systems.tallrec import parse


def number_titles(*splits: Sequence[Instruction]) -> dict[str, int]:
    """Number every title of some splits, in alphabetical order: they are the items."""
    found: set[str] = set()
    for record in (record for split in splits for record in split):
        question = parse(record)
        found |= {*question.liked, *question.disliked, question.target}
    return {title: number for number, title in enumerate(sorted(found))}


def clicks_of(
    records: Sequence[Instruction], numbers: Mapping[str, int], length: int = 10
) -> Clicks:
    """Examples with histories of the last `length` items.

    A record tells the order in time among the liked titles and among the others, but not between
    the two: the others come first here.

    Raises:
      DataError: another form of record, or a title without a number.
    """
    questions = [parse(record) for record in records]
    unknown = {
        title
        for q in questions
        for title in (*q.liked, *q.disliked, q.target)
        if title not in numbers
    }
    if unknown:
        raise DataError(
            f"{len(unknown)} titles have no number, such as {min(unknown)!r}; give number_titles "
            "every split that is used"
        )
    histories = [np.array([numbers[t] for t in (*q.disliked, *q.liked)], int) for q in questions]
    feedback = [
        np.array([DISLIKED] * len(q.disliked) + [LIKED] * len(q.liked), int) for q in questions
    ]
    return Clicks(
        history=pad_items(histories, length),
        feedback=np.maximum(pad_items(feedback, length), 0),
        target=np.array([numbers[q.target] for q in questions], np.int32),
        label=np.array([q.answer for q in questions]),
    )
