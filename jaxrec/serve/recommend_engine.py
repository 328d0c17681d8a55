"""The engine of the recommendation service: rows of many clients in calls of few shapes.

A row has one of two forms, so that lists of any length share two programs:

- *list*: the items that are left out, padded to `RecommendShapes.excluded`;
- *mask*: all items that are left, for a row with allowed items, with a longer list of items that
  are left out, or of a catalogue with items that were removed.

A program is compiled for each form, each padded length of histories, each size of batches, and each
length of lists; all of them before the first request.
"""

import dataclasses
import functools
from collections.abc import Callable, Hashable, Iterator, Sequence

import numpy as np

from jaxrec.core import ConfigError, Count, check_ranges
from jaxrec.decode import bucket
from jaxrec.ids import pad_items
from jaxrec.runs import Asked, check_top
from jaxrec.serve.catalogues import ServedCatalogue
from jaxrec.serve.request_errors import RequestError

Found = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecommendShapes:
    """Shapes of the compiled programs.

    Attributes:
      batch_sizes: numbers of rows to which batches are padded.
      most_top: longest list, and widest search, that a request may ask for.
      excluded: length to which lists of items that are left out are padded.

    Raises:
      ConfigError: a value out of range, or no size.

    Example:
      >>> RecommendShapes(batch_sizes=(8, 1)).batch_sizes
      (1, 8)
    """

    batch_sizes: tuple[Count, ...] = (1, 8, 64)
    most_top: Count = 50
    excluded: Count = 64

    def __post_init__(self) -> None:
        check_ranges(self, "shapes.")
        if not self.batch_sizes:
            raise ConfigError("shapes.batch_sizes is empty; give at least one number of rows")
        object.__setattr__(self, "batch_sizes", tuple(sorted(set(self.batch_sizes))))
        object.__setattr__(self, "excluded", bucket(self.excluded))


@dataclasses.dataclass(eq=False, kw_only=True)
class RecommendRow:
    """One list of items that a client waits for.

    Attributes:
      catalogue: in which its items have their numbers.
      history: item numbers, oldest first.
      user: original ID, "" for nobody.
      excluded: items left out; None in the form of a mask.
      allowed: all items that are left; None in the form of a list.
      length: number of items to compute, see `RecommendEngine.length_of`.
      deliver: is called with the items and their scores, `[length]` each, or with an error, in the
        thread of the device.
      times: of the items of the history, see `Asked`; None if they are not known.
      cancelled: whether nobody waits any longer.
    """

    catalogue: ServedCatalogue
    history: np.ndarray
    user: str
    excluded: np.ndarray | None
    allowed: np.ndarray | None
    length: int
    deliver: Callable[[Found | Exception], None]
    times: np.ndarray | None = None
    cancelled: bool = False

    @property
    def bucket(self) -> Hashable:
        """Rows of one version of the catalogue and one shape share a call."""
        widths = self.catalogue.history_widths
        width = min(int(np.searchsorted(widths, len(self.history))), len(widths) - 1)
        return self.catalogue, self.allowed is not None, width, self.length

    def fail(self, error: Exception) -> None:
        """Tell the client that there will be no answer."""
        self.deliver(error)


class RecommendEngine:
    """Runs rows in batches; see `batching.Engine`.

    Args:
      catalogue: the first version of the catalogue.
      shapes: see `RecommendShapes`.

    Attributes:
      catalogue: the version that new requests read; assigning another one is the swap.

    Example:
      >>> from jaxrec.testing import four_films
      >>> engine = RecommendEngine(ServedCatalogue.of(four_films(), "first", (1, 8)))
      >>> engine.lengths, engine.length_of(3)
      ((4,), 4)
    """

    def __init__(
        self, catalogue: ServedCatalogue, shapes: RecommendShapes = RecommendShapes()
    ) -> None:
        self.catalogue, self.shapes = catalogue, shapes
        ranker, most = catalogue.ranker, min(shapes.most_top, len(catalogue.model.names))
        lengths = [ranker.list_length(1)]
        while lengths[-1] < most:
            lengths.append(ranker.list_length(lengths[-1] + 1))
        # Lengths of the lists that are computed; all others are cut from these.
        self.lengths = tuple(lengths)

    def length_of(self, top: int, beams: int | None = None) -> int:
        """Return how many items to compute for a list.

        Args:
          top: length of the list.
          beams: width of the search; None for that of the run.

        Raises:
          RequestError: more than there is a program for.
        """
        most = self.lengths[-1]
        for name, value in (("top", top), ("beams", beams or 1)):
            if not 1 <= value <= most:
                raise RequestError(
                    f"{name} must lie between 1 and {most} here, got {value}", param=name
                )
        check_top(top, len(self.catalogue.model.names))
        return next(length for length in self.lengths if length >= max(top, beams or 1))

    def rows_of(
        self,
        catalogue: ServedCatalogue,
        asked: Asked,
        length: int,
        deliver: Callable[[int, Found | Exception], None],
        *,
        seen: bool = False,
    ) -> list[RecommendRow]:
        """Make the rows of a request.

        Args:
          catalogue: with the numbers of whose items it asks.
          asked: what it asks.
          length: from `length_of`.
          deliver: is called with the number of a row and what was found.
          seen: whether items of the history may be recommended.

        Raises:
          RequestError: a row without a user for a model that reads users, or a row that is allowed
            no item that is left.
        """
        if catalogue.reads_users and not (asked.users and all(asked.users)):
            raise RequestError(
                "this model reads who the user is; give users, or name the users of the "
                'histories: {"histories": {"ann": [...]}}',
                param="users",
            )
        rows = []
        for number, history in enumerate(asked.histories):
            left_out = [] if seen else [history]
            if asked.excluded is not None:
                left_out.append(asked.excluded[number])
            out = np.unique(np.concatenate(left_out)) if left_out else np.zeros(0, np.int32)
            only = None if asked.allowed is None else asked.allowed[number]
            if only is not None and not catalogue.available[only].any():
                raise RequestError(
                    f"allowed, row {number}: there are no items left to recommend; give at least "
                    "one that was not removed, or leave allowed out",
                    param="allowed",
                )
            masked = only is not None or len(out) > self.shapes.excluded or catalogue.removed
            if masked:
                only = catalogue.left(only, out)
            rows.append(
                RecommendRow(
                    catalogue=catalogue,
                    history=history[-catalogue.history_widths[-1] :],
                    times=None
                    if asked.times is None
                    else asked.times[number][-catalogue.history_widths[-1] :],
                    user=asked.users[number] if asked.users else "",
                    excluded=None if masked else out,
                    allowed=only if masked else None,
                    length=length,
                    deliver=functools.partial(deliver, number),
                )
            )
        return rows

    def warm_up(self) -> None:
        """Compile the programs of all buckets; see `batching.Engine`."""
        for length in self.lengths:
            for rows in self.samples(self.catalogue, length):
                for size in self.shapes.batch_sizes:
                    self._find([rows] * size)

    def samples(self, catalogue: ServedCatalogue, length: int) -> Iterator[RecommendRow]:
        """Yield a row of each form and each padded length of histories."""
        every = np.arange(len(catalogue.model.names), dtype=np.int32)
        nothing = np.zeros(0, np.int32)
        for width in catalogue.history_widths:
            history = np.resize(every, width)
            for excluded, allowed in ((nothing, None), (None, catalogue.left(None, nothing))):
                yield RecommendRow(
                    catalogue=catalogue,
                    history=history,
                    user="nobody",
                    excluded=excluded,
                    allowed=allowed,
                    length=length,
                    deliver=lambda found: None,
                )

    def most(self, bucket: Hashable) -> int:
        """Return the most rows of a batch; see `batching.Engine`."""
        return self.shapes.batch_sizes[-1]

    def run(self, bucket: Hashable, jobs: Sequence[RecommendRow]) -> Iterator[None]:
        """Find the lists of a batch in one call; see `batching.Engine`."""
        wanted = [job for job in jobs if not job.cancelled]
        if wanted:
            for job, found in zip(wanted, zip(*self._find(wanted), strict=True), strict=False):
                job.deliver(found)
        yield

    def _find(self, rows: Sequence[RecommendRow]) -> Found:
        """Find the lists of rows of one bucket, which are padded by repeating the last one."""
        first = rows[0]
        size = next(size for size in self.shapes.batch_sizes if size >= len(rows))
        full = [*rows, *[rows[-1]] * (size - len(rows))]
        excluded: list[np.ndarray] | None = None
        allowed: list[np.ndarray] | None = None
        if first.allowed is None:
            lists = [np.zeros(0, np.int32) if r.excluded is None else r.excluded for r in full]
            # Places without an item make all lists equally long.
            excluded = list(pad_items(lists, self.shapes.excluded))
        else:
            allowed = [np.zeros(0, np.int32) if r.allowed is None else r.allowed for r in full]
        times = None
        if any(row.times is not None for row in full):
            times = [np.full(len(r.history), -1) if r.times is None else r.times for r in full]
        asked = Asked(
            histories=[row.history for row in full],
            times=times,
            users=[row.user for row in full],
            excluded=excluded,
            allowed=allowed,
        )
        return first.catalogue.rankers[size].best(asked, first.length)
