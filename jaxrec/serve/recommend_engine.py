"""The engine of the recommendation service: rows of many clients in calls of few shapes.

A row has one of two forms, so that lists of any length share two programs:

- *list*: the items that are left out, padded to `RecommendShapes.excluded`;
- *mask*: all items that are left, for a row with allowed items, with a longer list of items that
  are left out, or of a catalogue with items that were removed.

Rows may also ask for a diverse list, each with a penalty of its own, and rows of named users may be
read from a cache of histories.

A program is compiled for each form, each padded length of histories, each size of batches, and each
length of lists, and again for diverse lists; all of them before the first request.
"""

import dataclasses
import functools
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import numpy as np

from jaxrec.core import ConfigError, Count, Whole, check_ranges
from jaxrec.decode import bucket
from jaxrec.ids import pad_items
from jaxrec.runs import Asked, check_top
from jaxrec.serve.catalogues import ServedCatalogue
from jaxrec.serve.costs import CallCosts
from jaxrec.serve.history_cache import CacheCounts, CachedPart, HistoryCache, cache_key
from jaxrec.serve.request_errors import RequestError

Found = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecommendShapes:
    """Shapes of the compiled programs.

    Attributes:
      batch_sizes: numbers of rows to which batches are padded.
      most_top: longest list, and widest search, that a request may ask for.
      excluded: length to which lists of items that are left out are padded.
      groups: groups of beams of a diverse list, which avoid one another's codes; 0 for a service
        without diverse lists.

    Raises:
      ConfigError: a value out of range, no size, or one group, which would avoid nothing.

    Example:
      >>> RecommendShapes(batch_sizes=(8, 1)).batch_sizes
      (1, 8)
    """

    batch_sizes: tuple[Count, ...] = (1, 8, 64)
    most_top: Count = 50
    excluded: Count = 64
    groups: Whole = 0

    def __post_init__(self) -> None:
        check_ranges(self, "shapes.")
        if not self.batch_sizes:
            raise ConfigError("shapes.batch_sizes is empty; give at least one number of rows")
        if self.groups == 1:
            raise ConfigError(
                "shapes.groups is 1, and one group has no other one to differ from; give at least "
                "2, or 0 for a service without diverse lists"
            )
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
      strength: penalty of a diverse list in nats; None for a plain list.
      key: name of the entry in the cache of histories; None for a row that is not kept.
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
    strength: float | None = None
    key: bytes | None = None
    times: np.ndarray | None = None
    cancelled: bool = False

    @property
    def bucket(self) -> Hashable:
        """Rows of one version of the catalogue and one shape share a call."""
        widths = self.catalogue.history_widths
        width = min(int(np.searchsorted(widths, len(self.history))), len(widths) - 1)
        diverse = self.strength is not None
        return self.catalogue, self.allowed is not None, width, self.length, diverse

    def fail(self, error: Exception) -> None:
        """Tell the client that there will be no answer."""
        self.deliver(error)


def _program(bucket: Any) -> Hashable:
    """Which compiled program a bucket runs; versions of the catalogue share it."""
    return bucket[1:]


class RecommendEngine:
    """Runs rows in batches; see `batching.Engine`.

    Args:
      catalogue: the first version of the catalogue.
      shapes: see `RecommendShapes`.
      cache: of the histories of named users; None for none.
      counted: is called after each batch with what has happened to the cache.

    Attributes:
      catalogue: the version that new requests read; assigning another one is the swap.
      most_top: longest list, and widest search, that a request may ask for.

    Raises:
      ConfigError: groups of diverse lists for a model that has no such lists.

    Example:
      >>> from jaxrec.testing import four_films
      >>> engine = RecommendEngine(ServedCatalogue.of(four_films(), "first", (1, 8)))
      >>> engine.lengths, engine.length_of(3)
      ((4,), 4)
    """

    def __init__(
        self,
        catalogue: ServedCatalogue,
        shapes: RecommendShapes = RecommendShapes(),
        cache: HistoryCache | None = None,
        counted: Callable[[CacheCounts], None] = lambda counts: None,
    ) -> None:
        self.catalogue, self.shapes = catalogue, shapes
        self._cache, self._counted = cache, counted
        if shapes.groups:
            none = "it scores all items at once, and its items have no codes to differ in"
            reason = getattr(catalogue.ranker, "undiverse", none)
            if reason:
                raise ConfigError(
                    f"this model has no diverse lists, because {reason}; set groups 0"
                )
        self._costs = CallCosts(shapes.batch_sizes)
        ranker = catalogue.ranker
        self.most_top = min(shapes.most_top, len(catalogue.model.names))  # of a list, and of beams
        lengths = [ranker.list_length(1)]
        while lengths[-1] < self.most_top:
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
        for name, value in (("top", top), ("beams", beams or 1)):
            if not 1 <= value <= self.most_top:
                raise RequestError(
                    f"{name} must lie between 1 and {self.most_top} here, got {value}", param=name
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
        diversity: float | None = None,
        client: bytes | None = None,
    ) -> list[RecommendRow]:
        """Make the rows of a request.

        Args:
          catalogue: with the numbers of whose items it asks.
          asked: what it asks.
          length: from `length_of`.
          deliver: is called with the number of a row and what was found.
          seen: whether items of the history may be recommended.
          diversity: penalty of a diverse list in nats; None or 0 for a plain list.
          client: digest of the API key of the request, in whose name histories are kept; None
            keeps none.

        Raises:
          RequestError: diversity in a service without diverse lists, a row without a user for a
            model that reads users, or a row that is allowed no item that is left.
        """
        try:
            catalogue.ranker.check(asked)
        except ConfigError as error:
            raise RequestError(str(error), param="users") from error
        if diversity and not self.shapes.groups:
            raise RequestError(
                "this service has no diverse lists; leave diversity out, or start the service with "
                "--diversity-groups",
                param="diversity",
            )
        rows, kept = [], self._cache is not None
        for number, history in enumerate(asked.histories):
            user = asked.users[number] if asked.users else ""
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
                    user=user,
                    excluded=None if masked else out,
                    allowed=only if masked else None,
                    length=length,
                    deliver=functools.partial(deliver, number),
                    strength=float(diversity) if diversity else None,
                    key=None if client is None or not kept or not user else cache_key(client, user),
                )
            )
        return rows

    def warm_up(self) -> None:
        """Compile the programs of all buckets; see `batching.Engine`."""
        for ranker in self.catalogue.rankers.values():
            if hasattr(ranker, "warm_up"):
                for length in self.lengths:
                    ranker.warm_up(length)
        if hasattr(self.catalogue.ranker, "warm_up"):
            return
        for length in self.lengths:
            for row in self.samples(self.catalogue, length):
                for size in self.shapes.batch_sizes:
                    rows = [row] * size
                    self._find(rows)
                    find = functools.partial(self._find, rows)
                    self._costs.measure(_program(row.bucket), size, find)
                    if self._cache is not None:
                        count = len(self._tokens(rows)[0])
                        for room in self._cache.rooms:
                            self._call(rows, self._cache.nothing(room, count))

    def samples(self, catalogue: ServedCatalogue, length: int) -> Iterator[RecommendRow]:
        """Yield a row of each form and each padded length of histories."""
        every = np.arange(len(catalogue.model.names), dtype=np.int32)
        nothing = np.zeros(0, np.int32)
        forms = ((nothing, None), (None, catalogue.left(None, nothing)))
        strengths = (None, 1.0) if self.shapes.groups else (None,)
        for width in catalogue.history_widths:
            for excluded, allowed in forms:
                for strength in strengths:
                    yield RecommendRow(
                        catalogue=catalogue,
                        history=np.resize(every, width),
                        user="nobody",
                        excluded=excluded,
                        allowed=allowed,
                        length=length,
                        deliver=lambda found: None,
                        strength=strength,
                    )

    def most(self, bucket: Hashable) -> int:
        """Return the most rows of a batch; see `batching.Engine`."""
        return self.shapes.batch_sizes[-1]

    def count(self, bucket: Hashable, waiting: int) -> int:
        """Return how many of the rows that wait share a call; see `batching.Engine`."""
        return self._costs.count(_program(bucket), waiting)

    def saving(self, bucket: Hashable, waiting: int) -> float:
        """Return the seconds that further rows may save; see `batching.Engine`."""
        return self._costs.saving(_program(bucket), waiting)

    def run(self, bucket: Hashable, jobs: Sequence[RecommendRow]) -> Iterator[None]:
        """Find the lists of a batch in one call; see `batching.Engine`."""
        wanted = [job for job in jobs if not job.cancelled]
        if wanted:
            for job, found in zip(wanted, zip(*self._find(wanted), strict=True), strict=False):
                job.deliver(found)
        yield

    def _find(self, rows: Sequence[RecommendRow]) -> Found:
        """Find the lists of rows of one bucket."""
        if self._cache is None:
            return self._call(rows, None)
        try:
            return self._find_cached(rows, self._cache)
        except Exception:
            # A call that failed may have used the array of the cache up.
            self._cache.clear()
            raise

    def _find_cached(self, rows: Sequence[RecommendRow], cache: HistoryCache) -> Found:
        """Find lists in one call for all rows that are read from the start, and others for hits."""
        ranker: Any = rows[0].catalogue.ranker
        cache.follow(ranker.params)
        items = np.full((len(rows), rows[0].length), -1, np.int32)
        scores = np.full(items.shape, -np.inf, np.float32)
        for part in cache.split([row.key for row in rows], self._tokens(rows)):
            some = [rows[place] for place in part.places]
            items[part.places], scores[part.places] = (
                x[: len(some)] for x in self._call(some, part)
            )
        self._counted(cache.counts)
        return items, scores

    def _tokens(self, rows: Sequence[RecommendRow]) -> list[np.ndarray]:
        """The tokens of the histories of rows, without padding."""
        asked = Asked(histories=[row.history for row in rows], users=[row.user for row in rows])
        ranker: Any = rows[0].catalogue.ranker
        found: list[np.ndarray] = ranker.tokens(asked)
        return found

    def _call(self, rows: Sequence[RecommendRow], part: CachedPart | None) -> Found:
        """Find the lists of rows of one bucket, which are padded by repeating the last one.

        Args:
          rows: of one bucket.
          part: how much of their histories is kept; None for a service without a cache.
        """
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
        ranker: Any = first.catalogue.rankers[size]
        if part is None and first.strength is None:
            return ranker.best(asked, first.length)
        strengths = None
        if first.strength is not None:
            strengths = np.array([row.strength for row in full], np.float32)
        read = None
        if part is not None and self._cache is not None:
            read = self._cache.reader([row.key for row in full], part)
        return ranker.lists(
            asked, first.length, strengths=strengths, groups=self.shapes.groups, read=read
        )
