"""A datum: one example of a text task, in numbers.

A datum says who, which items, which row and which answer, and nothing of how they are written.
Rendering it as text is the last step before the tokenizer, so ground truth is always a number.
"""

import dataclasses
from typing import Literal, NamedTuple

import numpy as np

TurnKind = Literal["genre", "example", "rejection"]


class Turn(NamedTuple):
    """What a seeker says in one turn of a conversation.

    Attributes:
      kind: a genre that is wanted, an example of what was liked, or a rejection of a
        recommendation.
      number: of the genre in `Genres.names`, or of the item.

    Example:
      >>> Turn("rejection", 7).number
      7
    """

    kind: TurnKind
    number: int


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Datum:
    """One example of a task. A task leaves out what it does not use.

    Attributes:
      user: user number; -1 for none.
      history: [H] item numbers that the prompt may show, oldest first.
      liked: [H] bool, which items of the history the user liked.
      item: the item that the example is about, or that is to be found; -1 for none.
      candidates: [A] item numbers to choose from.
      asked: the item that a yes-or-no question asks about; -1 for none.
      wished: the item whose categories an intention in the prompt tells; -1 for none.
      row: row of the interactions; -1 for none.
      star: stars that the prompt or the answer says; 0 for none.
      rating: number of the answer among `data.ratings.TEXTS`; -1 for none.
      answer: number of the right answer among the answers of a `Choice`; -1 for none.
      turns: what the seeker of a conversation has said so far, oldest first.
      told: numbers of the facts in `Facts.pairs` that the prompt tells of the item; () for those
        that the graph holds.

    Example:
      >>> import numpy as np
      >>> from jaxrec.texts import Datum
      >>> datum = Datum(user=3, history=np.array([7, 2]), item=5)
      >>> datum.item, datum.candidates is None
      (5, True)
    """

    user: int = -1
    history: np.ndarray | None = None
    liked: np.ndarray | None = None
    item: int = -1
    candidates: np.ndarray | None = None
    asked: int = -1
    wished: int = -1
    row: int = -1
    star: int = 0
    rating: int = -1
    answer: int = -1
    turns: tuple[Turn, ...] = ()
    told: tuple[int, ...] = ()

    @property
    def rejected(self) -> list[int]:
        """The items that the seeker of a conversation has rejected."""
        return [turn.number for turn in self.turns if turn.kind == "rejection"]
