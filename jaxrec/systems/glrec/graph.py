"""The behaviour graph: users and items, joined by edges of a few types.

An edge is an interaction, and its type is a band of its rating: with one bound at 3, "disliked" and
"liked"; with codes of a recruiting site in the column of ratings, "messaged" and "interviewed" (Wu
et al., AAAI 2024, section 4.1). The graph is kept as one list of users per item, so that its size
is that of the interactions.

Shapes: `E` edges, `I` items, `N` pairs of a user and an item.
"""

import dataclasses

import numpy as np

from jaxrec.core import DataError
from jaxrec.data import Interactions


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class BehaviorGraph:
    """Edges by item, and for each item by user.

    Attributes:
      starts: `[I + 1]` int64, the edges of item i are `starts[i]` to `starts[i + 1] - 1`.
      user: `[E]` int32 user numbers, ascending for each item and different from one another.
      kind: `[E]` int8, type of each edge.
      num_users: U.
    """

    starts: np.ndarray
    user: np.ndarray
    kind: np.ndarray
    num_users: int

    def __len__(self) -> int:
        """E."""
        return len(self.user)

    def users_of(self, item: int) -> tuple[np.ndarray, np.ndarray]:
        """Users with an edge to an item, ascending, and the types of these edges."""
        place = slice(self.starts[item], self.starts[item + 1])
        return self.user[place], self.kind[place]


def edge_kinds(rating: np.ndarray, bounds: tuple[float, ...]) -> np.ndarray:
    """The band of each rating: the number of bounds that it is above.

    Args:
      rating: `[n]`.
      bounds: ascending.

    Example:
      >>> import numpy as np
      >>> from jaxrec.systems.glrec import edge_kinds
      >>> edge_kinds(np.array([1.0, 3.0, 4.0, 5.0]), (3.0, 4.0)).tolist()
      [0, 0, 1, 2]
    """
    return np.searchsorted(np.asarray(bounds), rating, side="left").astype(np.int8)


def build_graph(
    data: Interactions, bounds: tuple[float, ...], held_out: tuple[np.ndarray, np.ndarray]
) -> BehaviorGraph:
    """Join users and items, without the pairs that are held out.

    No path through the graph can hold a held-out edge, because the graph does not have it. A user
    and an item that met several times have one edge, of the type of the last time.

    Args:
      data: interactions with ratings.
      bounds: ascending; they divide the ratings into types, see `edge_kinds`.
      held_out: `[N]` users and `[N]` items of the pairs that questions of validation and test ask
        about.

    Raises:
      DataError: interactions without ratings, or nothing is left.

    Example:
      >>> import numpy as np
      >>> from jaxrec.data import Interactions
      >>> from jaxrec.systems.glrec import build_graph
      >>> data = Interactions.from_columns(["a", "b", "b"], ["x", "x", "y"], rating=[5, 1, 4])
      >>> graph = build_graph(data, (3.0,), (np.array([1]), np.array([1])))
      >>> [part.tolist() for part in graph.users_of(0)], len(graph.users_of(1)[0])
      ([[0, 1], [1, 0]], 0)
    """
    if np.isnan(data.rating).any():
        raise DataError(
            f"{data.name} has interactions without a rating, so its edges have no type; give "
            "--data.rating-column"
        )
    size = data.num_users
    pair = data.item.astype(np.int64) * size + data.user
    # Rows are in order of time for each user, so the last of equal pairs is the latest.
    order = np.argsort(pair, kind="stable")
    last = np.flatnonzero(np.diff(pair[order], append=-1))
    rows = order[last]
    users, items = held_out
    rows = rows[~np.isin(pair[rows], items.astype(np.int64) * size + users)]
    if not len(rows):
        raise DataError(
            f"all {len(data):,} interactions of {data.name} are held out for validation and test, "
            "so the graph has no edge; split by users, or hold out fewer"
        )
    return BehaviorGraph(
        starts=np.searchsorted(data.item[rows], np.arange(data.num_items + 1)),
        user=data.user[rows],
        kind=edge_kinds(data.rating[rows], bounds),
        num_users=size,
    )
