"""Meta-paths of the behaviour graph for a question, as numbers and as text.

A question asks whether user u will like item i, and shows some of u's items j with u's opinion of
them. Other users v and w may have met i or j:

  user-item-user   v - i - w   two other users who met the item asked about
  item-user-item   j - v - i   another user who met an item shown and the item asked about
  user-item            v - i   another user who met the item asked about

(Wu et al., AAAI 2024, section 4.1: three nodes, each edge said in words.) The users who agree most
with u come first. Agreement is counted over the items shown: one more for an item that both liked
or both did not like, one less for another one. None of the paths has a node u, so the edge asked
about is in none.

Two paths are near duplicates if the words of their nodes overlap (Jaccard index above `overlap`).
The node i, which all paths of a question share, does not count.

Shapes: `H` items shown, `M` paths.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from jaxrec.systems.glrec.graph import BehaviorGraph

# What joins the two halves of a sentence, about an item and about a user.
JOINTS = (", which ", ", who ")
MetaPath = Literal["user-item-user", "item-user-item", "user-item"]


class Path(NamedTuple):
    """One path.

    Attributes:
      shape: its meta-path.
      nodes: numbers of its users and items, in the order of the shape.
      kinds: types of its edges.
    """

    shape: MetaPath
    nodes: tuple[int, ...]
    kinds: tuple[int, ...]

    def edges(self) -> list[tuple[int, int]]:
        """The user and the item of each edge.

        Example:
          >>> from jaxrec.systems.glrec import Path
          >>> Path("item-user-item", (7, 3, 9), (1, 0)).edges()
          [(3, 7), (3, 9)]
        """
        first_is_user = self.shape != "item-user-item"
        pairs = enumerate(itertools.pairwise(self.nodes))
        return [(a, b) if (place % 2 == 0) == first_is_user else (b, a) for place, (a, b) in pairs]


class Question(NamedTuple):
    """What paths are looked for.

    Attributes:
      user: the user asked about; -1 for one who is not in the graph.
      items: `[H]` the items shown, oldest first; -1 for none.
      liked: `[H]` bool, whether the user liked them.
      asked: the item asked about.
    """

    user: int
    items: np.ndarray
    liked: np.ndarray
    asked: int


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PathFinder:
    """Finds the paths of questions.

    Attributes:
      graph: without held-out edges.
      liked_from: the lowest type of edge that means that the user liked the item.
      shapes: the meta-paths to look for, in turns.
      count: M, most paths of a question.
      overlap: largest Jaccard index of the words of two paths.
      user_words: for each user the words of its text.
      item_words: for each item the words of its text.

    Example:
      >>> import numpy as np
      >>> from jaxrec.data import Interactions
      >>> from jaxrec.systems.glrec import PathFinder, Question, build_graph
      >>> data = Interactions.from_columns(
      ...     ["a", "b", "b", "c"], ["x", "x", "y", "y"], rating=[5, 5, 1, 5]
      ... )
      >>> graph = build_graph(data, (3.0,), (np.zeros(0, int), np.zeros(0, int)))
      >>> finder = PathFinder(
      ...     graph=graph, liked_from=1, shapes=("item-user-item",), count=3, overlap=0.3,
      ...     user_words=[{"a"}, {"b"}, {"c"}], item_words=[{"x"}, {"y"}],
      ... )
      >>> shown = Question(user=0, items=np.array([0]), liked=np.array([True]), asked=1)
      >>> finder.find(shown)
      [Path(shape='item-user-item', nodes=(0, 1, 1), kinds=(1, 0))]
    """

    graph: BehaviorGraph
    liked_from: int
    shapes: tuple[MetaPath, ...]
    count: int
    overlap: float
    user_words: Sequence[frozenset[str] | set[str]]
    item_words: Sequence[frozenset[str] | set[str]]

    def find(self, question: Question) -> list[Path]:
        """At most M paths, the most agreeing users first, none a near duplicate of one before."""
        if not self.count:
            return []
        users, kinds = self.graph.users_of(question.asked)
        others = users != question.user
        users, kinds = users[others], kinds[others]
        agreement, shared = self._agreement(question, users)
        order = np.argsort(-agreement, kind="stable")
        found: list[Path] = []
        words: list[frozenset[str]] = []
        for path in self._candidates(question, users, kinds, shared, order):
            own = self._words(path, question.asked)
            if all(jaccard(own, other) <= self.overlap for other in words):
                found.append(path)
                words.append(own)
            if len(found) == self.count:
                break
        return found

    def _agreement(
        self, question: Question, users: np.ndarray
    ) -> tuple[np.ndarray, list[tuple[int, int] | None]]:
        """How much users agree with the one asked about, and where they last did so.

        Returns:
          One number per user, and per user an item shown with the type of their common edge.
        """
        agreement = np.zeros(len(users), np.int64)
        shared: list[tuple[int, int] | None] = [None] * len(users)
        if not len(users):
            return agreement, shared
        through = "item-user-item" in self.shapes
        for item, liked in zip(question.items.tolist(), question.liked.tolist(), strict=True):
            if item < 0 or item == question.asked:
                continue
            who, how = self.graph.users_of(item)
            place = np.minimum(np.searchsorted(users, who), len(users) - 1)
            here = users[place] == who
            place, how = place[here], how[here]
            same = (how >= self.liked_from) == liked
            agreement[place] += np.where(same, 1, -1)
            if through:
                for row, kind in zip(place[same].tolist(), how[same].tolist(), strict=True):
                    shared[row] = (item, kind)
        return agreement, shared

    def _candidates(
        self,
        question: Question,
        users: np.ndarray,
        kinds: np.ndarray,
        shared: list[tuple[int, int] | None],
        order: np.ndarray,
    ) -> Iterator[Path]:
        """Paths of all shapes in turns."""
        asked = question.asked
        node, kind = users.tolist(), kinds.tolist()

        def paths(shape: MetaPath) -> Iterator[Path]:
            rows = order.tolist()
            if shape == "user-item-user":
                for a, b in zip(rows[::2], rows[1::2], strict=False):
                    yield Path(shape, (node[a], asked, node[b]), (kind[a], kind[b]))
            elif shape == "item-user-item":
                for row in rows:
                    if (common := shared[row]) is not None:
                        yield Path(shape, (common[0], node[row], asked), (common[1], kind[row]))
            else:
                for row in rows:
                    yield Path(shape, (node[row], asked), (kind[row],))

        for turn in itertools.zip_longest(*(paths(shape) for shape in self.shapes)):
            yield from (path for path in turn if path is not None)

    def _words(self, path: Path, asked: int) -> frozenset[str]:
        """The words of a path's nodes, the item asked about left out."""
        words: set[str] = set()
        for user, item in path.edges():
            words |= self.user_words[user]
            if item != asked:
                words |= self.item_words[item]
        return frozenset(words)


def jaccard(one: frozenset[str] | set[str], other: frozenset[str] | set[str]) -> float:
    """Common words as a share of all words; 1 for two texts without any.

    Example:
      >>> from jaxrec.systems.glrec import jaccard
      >>> jaccard({"star", "wars"}, {"star", "trek"})
      0.3333333333333333
    """
    union = len(one | other)
    return len(one & other) / union if union else 1.0


def path_text(path: Path, users: Sequence[str], items: Sequence[str], verbs: Sequence[str]) -> str:
    """Say a path in one sentence.

    Args:
      path: the path.
      users: text of each user.
      items: text of each item.
      verbs: of each type of edge, such as "liked"; the user is the subject.

    Example:
      >>> from jaxrec.systems.glrec import Path, path_text
      >>> path = Path("user-item-user", (0, 0, 1), (1, 0))
      >>> path_text(path, ["user 1", "user 2"], ['"Alien"'], ["disliked", "liked"])
      'user 1 liked "Alien", which user 2 disliked.'
    """
    first, *rest = path.nodes
    verb = [verbs[kind] for kind in path.kinds]
    if path.shape == "user-item-user":
        item, other = rest
        return f"{users[first]} {verb[0]} {items[item]}{JOINTS[0]}{users[other]} {verb[1]}."
    if path.shape == "item-user-item":
        user, item = rest
        return f"{users[user]}{JOINTS[1]}{verb[0]} {items[first]}, {verb[1]} {items[item]}."
    return f"{users[first]} {verb[0]} {items[rest[0]]}."
