"""Lists of recommended items, as arrays and as a data frame."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrec.core import ConfigError

if TYPE_CHECKING:
    from jaxrec.serve.names import ItemNames


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Lists:
    """Recommended items of U users or histories, best first.

    Attributes:
      users: U original IDs; None for histories of nobody.
      items: `[U, K]` original IDs as objects; "" in places that no item fills.
      titles: `[U, K]` what to show a reader, as objects.
      scores: `[U, K]` float32, -inf in places that no item fills.
      numbers: `[U, K]` int32 item numbers, -1 in places that no item fills.
      meaning: what scores are, such as "log-probability of each ID".

    Example:
      >>> lists = Lists(
      ...     users=("ann",),
      ...     items=np.array([["50", ""]], object),
      ...     titles=np.array([["Heat", ""]], object),
      ...     scores=np.array([[-0.5, -np.inf]], np.float32),
      ...     numbers=np.array([[3, -1]], np.int32),
      ...     meaning="score",
      ... )
      >>> lists.to_arrow().to_pylist()
      [{'user': 'ann', 'rank': 1, 'item': '50', 'title': 'Heat', 'score': -0.5}]
    """

    users: Sequence[str] | None
    items: np.ndarray
    titles: np.ndarray
    scores: np.ndarray
    numbers: np.ndarray
    meaning: str

    @classmethod
    def of(
        cls,
        names: "ItemNames",
        users: Sequence[str] | None,
        numbers: np.ndarray,
        scores: np.ndarray,
        meaning: str,
    ) -> "Lists":
        """Put IDs and titles to the numbers of items."""

        def named(values: np.ndarray) -> np.ndarray:
            shown = values[np.maximum(numbers, 0)]
            shown[numbers < 0] = ""
            return shown

        return cls(
            users=users,
            items=named(names.ids),
            titles=named(names.labels),
            scores=scores,
            numbers=numbers,
            meaning=meaning,
        )

    def __len__(self) -> int:
        return len(self.items)

    def to_arrow(self) -> Any:
        """Return a `pyarrow.Table` with a row for each item of each list.

        Its columns are "user" (or "row", the number of a history of nobody), "rank" (from 1),
        "item", "title" and "score".
        """
        import pyarrow as pa

        row, place = np.nonzero(self.numbers >= 0)
        if self.users is None:
            who = {"row": pa.array(row.astype(np.int64))}
        else:
            who = {"user": pa.array([self.users[at] for at in row.tolist()], pa.string())}
        return pa.table(
            who
            | {
                "rank": pa.array((place + 1).astype(np.int32)),
                "item": pa.array(self.items[row, place].tolist(), pa.string()),
                "title": pa.array(self.titles[row, place].tolist(), pa.string()),
                "score": pa.array(self.scores[row, place].astype(np.float32)),
            }
        )

    def to_pandas(self) -> Any:
        """Return `to_arrow` as a data frame of pandas.

        Raises:
          ConfigError: pandas is not installed.
        """
        _need("pandas")
        return self.to_arrow().to_pandas()

    def to_polars(self) -> Any:
        """Return `to_arrow` as a data frame of polars.

        Raises:
          ConfigError: polars is not installed.
        """
        return _need("polars").from_arrow(self.to_arrow())


def _need(package: str) -> Any:
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ConfigError(
            f"{package} is not installed; install it (pip install {package}), or use to_arrow()"
        ) from error
