"""Conversations: a seeker says over several turns what they want, and the answer is an item.

A seeker has a target in mind and never names it. The first turn asks for one of its genres. Each
further turn asks for another genre, gives an item of the seeker's history as an example, or rejects
a recommendation:

    i want comedy , i liked <item_4> , not <item_9>      ->  <item_2>

Turns are numbers like everything else in a datum (`Turn`) and become sentences when they are
rendered. In training and validation the rejected items are drawn from the popular ones that have
the genres named so far. `converse` replaces them by what a recommender really says.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np

from jaxrec.runs import Stage
from jaxrec.texts.datum import Datum, Turn, TurnKind
from jaxrec.texts.names import close_up
from jaxrec.texts.prompt_data import PromptData, render
from jaxrec.texts.sources import Need, Prefixes, Stream, Unit

# How a turn is said in training. {thing} is a genre or an item.
SAYINGS: Mapping[TurnKind, tuple[str, ...]] = {
    "genre": ("i want {thing}", "some {thing} please"),
    "example": ("i liked {thing}", "something like {thing}"),
    "rejection": ("not {thing}", "{thing} is not for me"),
}
# How it is said in the wording that training leaves out, with words that training knows.
OTHER_SAYINGS: Mapping[TurnKind, tuple[str, ...]] = {
    "genre": ("i want some {thing}",),
    "example": ("something like {thing} please",),
    "rejection": ("i want something not like {thing}",),
}
_BETWEEN = " , "


@dataclasses.dataclass(frozen=True)
class Conversations:
    """A datum is a conversation of a user about the item that follows a beginning of their history.

    Attributes:
      inner: gives the user, the history and the target.
      most: largest number of turns; training conversations have 1 to that many, those of an
        evaluation have all of them.

    Example:
      >>> import numpy as np
      >>> from jaxrec.data import Dataset, leave_one_out
      >>> from jaxrec.testing import tiny_interactions
      >>> from jaxrec.texts import Conversations, Names, PromptData
      >>> interactions = tiny_interactions()
      >>> dataset = Dataset(interactions, leave_one_out(interactions))
      >>> users, items = interactions.user_ids.tolist(), interactions.items.labels()
      >>> names = Names(users=users, items=items, separator=", ")
      >>> data = PromptData(
      ...     dataset=dataset, names=names, ratings=None, reviews=None, max_items=2, candidates=5
      ... )
      >>> (datum,) = Conversations(most=2).held_out(data, "test", np.array([3]))
      >>> [turn.kind for turn in datum.turns]
      ['genre', 'rejection']
    """

    inner: Prefixes = Prefixes()
    most: int = 4
    unit: ClassVar[Unit] = "user"
    needs: ClassVar[frozenset[Need]] = frozenset({"genres"})

    def training(self, data: PromptData) -> Stream:
        """Every datum of the inner source, each time with other turns.

        Raises:
          DataError: the items have no genres.
        """
        stream, met = self.inner.training(data), data.dataset.split.train.sequences()
        counts = _counts(data)

        def draw(datum: int, rng: np.random.Generator) -> Datum:
            one = stream.draw(datum, rng)
            length = int(rng.integers(1, self.most + 1))
            return _plan(one, met[one.user], data, counts, length, rng)

        return Stream(stream.size, draw)

    def units(self, data: PromptData, stage: Stage) -> np.ndarray:
        """All users."""
        return self.inner.units(data, stage)

    def held_out(self, data: PromptData, stage: Stage, units: np.ndarray) -> list[Datum]:
        """A conversation of each user about the target; no held-out item of theirs is rejected."""
        split, counts = data.dataset.split, _counts(data)
        examples = []
        for one in self.inner.held_out(data, stage, units):
            assert one.history is not None
            others = [split.valid_target[one.user], split.test_target[one.user]]
            met = np.concatenate([one.history, others])
            rng = np.random.default_rng([0, one.user])
            examples.append(_plan(one, met, data, counts, self.most, rng))
        return examples


def _counts(data: PromptData) -> np.ndarray:
    return np.bincount(data.dataset.split.train.item, minlength=data.dataset.num_items)


def _plan(
    one: Datum,
    met: np.ndarray,
    data: PromptData,
    counts: np.ndarray,
    length: int,
    rng: np.random.Generator,
) -> Datum:
    """Let a seeker talk about the item of a datum; fewer turns where there is nothing to say."""
    assert one.history is not None
    table, wanted = data.genres.table, data.genres.of_item[one.item]
    genres = rng.permutation(wanted).tolist()
    # The most recent items that share a genre with the target make the best examples.
    recent = list(dict.fromkeys(one.history[::-1].tolist()))
    examples = sorted(
        (item for item in recent if item != one.item),
        key=lambda item: not table[item, wanted].any(),
    )
    free = np.ones(data.dataset.num_items, bool)
    free[[*met.tolist(), one.item]] = False
    turns: list[Turn] = []
    for place in range(length):
        named = [turn.number for turn in turns if turn.kind == "genre"]
        fits = free & table[:, named].all(axis=1)
        can: list[TurnKind] = []
        if genres:
            can.append("genre")
        if examples and (place or not genres):
            can.append("example")
        if place and fits.any():
            can.append("rejection")
        if not can:
            break
        kind = can[int(rng.integers(len(can)))]
        if kind == "genre":
            number = genres.pop()
        elif kind == "example":
            number = examples.pop(0)
        else:
            # One more than the count, so that an item without training interactions can be drawn.
            weight = np.where(fits, counts + 1.0, 0.0)
            number = int(rng.choice(len(weight), p=weight / weight.sum()))
            free[number] = False
        turns.append(Turn(kind, int(number)))
    return dataclasses.replace(one, turns=tuple(turns))


def render_conversation(datum: Datum, data: PromptData) -> dict[str, str]:
    """Write a datum as `render` does, with what its seeker says.

    Returns:
      The fields of `render`, and "turns" and "reworded": the turns as training says them, and as
      only the unseen wording does.

    Example:
      >>> from jaxrec.data import Dataset, leave_one_out
      >>> from jaxrec.testing import tiny_interactions
      >>> from jaxrec.texts import Datum, Names, PromptData, Turn, render_conversation
      >>> interactions = tiny_interactions()
      >>> dataset = Dataset(interactions, leave_one_out(interactions))
      >>> users, items = interactions.user_ids.tolist(), interactions.items.labels()
      >>> names = Names(users=users, items=items, separator=", ")
      >>> data = PromptData(
      ...     dataset=dataset, names=names, ratings=None, reviews=None, max_items=2, candidates=5
      ... )
      >>> datum = Datum(user=0, turns=(Turn("genre", 2), Turn("rejection", 6)))
      >>> render_conversation(datum, data)["turns"]
      'i want horror , Film 006 (1956) is not for me'
    """
    fields = render(datum, data)
    for name, sayings in (("turns", SAYINGS), ("reworded", OTHER_SAYINGS)):
        said = [_say(turn, place, sayings, data) for place, turn in enumerate(datum.turns)]
        fields[name] = close_up(_BETWEEN.join(said))
    return fields


def _say(
    turn: Turn, place: int, sayings: Mapping[TurnKind, tuple[str, ...]], data: PromptData
) -> str:
    ways = sayings[turn.kind]
    names = data.genres.names if turn.kind == "genre" else data.names.items
    return ways[(turn.number + place) % len(ways)].format(thing=names[turn.number])


def converse(
    planned: Sequence[Datum], recommend: Callable[[Sequence[Datum]], np.ndarray]
) -> list[np.ndarray]:
    """Let seekers talk with a recommender, which answers each of their turns with a list.

    A rejection names the best item of the last list, except the target and items that the seeker
    rejected earlier. So a seeker never rejects what they are looking for, and every
    conversation goes on until its plan ends: the lists of a turn are comparable with those of
    another turn.

    Args:
      planned: N conversations.
      recommend: the lists `[N, K]` for conversations so far, best first and -1 in unfilled places.

    Returns:
      The lists of each turn: as many arrays `[N, K]` as the longest plan has turns. A seeker whose
      plan has ended says nothing new.

    Example:
      >>> import numpy as np
      >>> from jaxrec.texts import Datum, Turn, converse
      >>> plan = Datum(item=5, turns=(Turn("genre", 0), Turn("rejection", 3)))
      >>> def recommend(data):
      ...     print(data[0].turns[-1])
      ...     return np.array([[5, 8]])
      >>> len(converse([plan], recommend))
      Turn(kind='genre', number=0)
      Turn(kind='rejection', number=8)
      2
    """
    so_far = [dataclasses.replace(plan, turns=()) for plan in planned]
    lists: list[np.ndarray] = []
    for place in range(max((len(plan.turns) for plan in planned), default=0)):
        for row, plan in enumerate(planned):
            if place < len(plan.turns):
                turn, said = plan.turns[place], so_far[row]
                if turn.kind == "rejection" and lists:
                    barred = {-1, plan.item, *said.rejected}
                    offered = [item for item in lists[-1][row].tolist() if item not in barred]
                    turn = Turn("rejection", offered[0]) if offered else turn
                so_far[row] = dataclasses.replace(said, turns=(*said.turns, turn))
        lists.append(recommend(so_far))
    return lists
