"""Training batches: an endless, seeded, resumable Grain iterator over windows of user histories.

In each epoch, windows of `length` items tile every history from a random start. So every
interaction is in at least one window per epoch, and longer histories give more windows. One Grain
element is one whole batch: Grain costs about 30 microseconds per element, which would dominate the
cost of a batch if each sequence were an element.

A window depends only on the seed and its position in the stream. So the stream of windows is the
same for every batch size, and wherever it is resumed.

Here every window is a row of its own, padded to one length. `buckets` and `packing` put the same
windows into rows with less padding.
"""

import dataclasses
import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from jaxrec.core import ConfigError, DataError

if TYPE_CHECKING:
    import grain

Encode = Callable[[np.ndarray, np.random.Generator], Mapping[str, np.ndarray]]

_CHUNK = 4096  # users read from a source at once


class Source(Protocol):
    """A random-access sequence of item arrays, one per user: a list, or `item_sequences(path)`."""

    def __len__(self) -> int: ...

    def __getitem__(self, user: int, /) -> Any: ...


def training_sequences(
    source: Source,
    *,
    length: int,
    batch_size: int,
    seed: int,
    encode: Encode | None = None,
    threads: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> "grain.IterDataset[dict[str, np.ndarray]]":
    """Return an endless Grain dataset of training batches.

    Its iterator has `get_state()` and `set_state(state)`, with a state that Orbax and JSON can
    store, and it resumes exactly from there.

    Args:
        source: item arrays, one per user, oldest first. It is read once and kept in memory, with 4
            bytes per interaction.
        length: largest number of items in a window; a shorter history is a single window.
        batch_size: windows in a batch, over all hosts.
        seed: seed of order, windows and random draws in `encode`.
        encode: function from items ([1..length] int32) and a generator to a map name -> array, with
            the same shapes for every window; it must not keep the generator. None pads on the left:
            "items" [length] int32 and "mask" [length] bool.
        threads: number of Grain threads that prepare batches ahead. 0 is fastest unless `encode`
            takes long, because passing a batch between threads takes longer than making it.
        shard: (this host, number of hosts); each host gets its part of every batch.

    Returns:
        Batches: name -> [batch_size / hosts, ...], the stacked encoded windows.

    Raises:
        DataError: there are no users, or a user has no items (leave out such users first).
        ConfigError: a size is not positive, or the hosts cannot share a batch evenly.

    Example:
        >>> histories = [np.array([4, 5]), np.array([7, 8, 9])]
        >>> batch = next(iter(training_sequences(histories, length=3, batch_size=2, seed=0)))
        >>> sorted(batch["items"].tolist())
        [[0, 4, 5], [7, 8, 9]]
    """
    windows = Windows.of(source, length=length, seed=seed)
    return padded_batches(
        windows, batch_size=batch_size, encode=encode, threads=threads, shard=shard
    )


def padded_batches(
    windows: "Windows",
    *,
    batch_size: int,
    encode: Encode | None = None,
    threads: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> "grain.IterDataset[dict[str, np.ndarray]]":
    """Return `training_sequences` for given windows; it explains the other arguments."""
    rows = host_rows(batch_size, shard)
    encode = encode or functools.partial(pad_left, length=windows.length)

    def batch(step: int) -> dict[str, np.ndarray]:
        first = step * batch_size
        places = range(first + rows.start, first + rows.stop)
        return stack([encode(items, rng) for items, rng in windows.draw(places)])

    return endless(batch, batch_size, threads)


def host_rows(batch_size: int, shard: tuple[int, int]) -> slice:
    """Return the rows of every batch that belong to a host.

    Raises:
      ConfigError: the host does not exist, or the hosts cannot share the batch evenly.
    """
    host, hosts = shard
    if batch_size < 1:
        raise ConfigError(f"batch_size must be at least 1, got {batch_size}")
    if not 0 <= host < hosts or batch_size % hosts:
        raise ConfigError(
            f"shard {host} of {hosts} hosts cannot take part of batch_size {batch_size}; the shard "
            "must be below the number of hosts, and batch_size a multiple of that number"
        )
    size = batch_size // hosts
    return slice(host * size, (host + 1) * size)


def endless(
    batch: Callable[[int], dict[str, np.ndarray]], rows: int, threads: int
) -> "grain.IterDataset[dict[str, np.ndarray]]":
    """Make a Grain dataset whose element `step` is `batch(step)`, of at most `rows` rows."""
    import grain

    steps = grain.MapDataset.range(sys.maxsize // (2 * rows))  # practically endless
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(2, 2 * threads))
    return steps.map(batch).to_iter_dataset(options)


def epoch_batches(
    count: int,
    take: Callable[[np.ndarray], dict[str, np.ndarray]],
    *,
    batch_size: int,
    seed: int,
    shard: tuple[int, int] = (0, 1),
) -> "grain.IterDataset[dict[str, np.ndarray]]":
    """Make endless, seeded, resumable batches: every row once an epoch, in a new order.

    Args:
      count: number of rows; a batch of more rows has some several times.
      take: returns the arrays of the rows with these numbers.
      batch_size: rows of a batch, over all processes.
      seed: seed of the orders.
      shard: number of this process, and how many there are.

    Raises:
      ConfigError: the batch does not divide over the processes.

    Example:
      >>> batches = epoch_batches(4, lambda rows: {"rows": rows}, batch_size=4, seed=0)
      >>> sorted(next(iter(batches))["rows"].tolist())
      [0, 1, 2, 3]
    """
    number, many = shard
    if batch_size % many:
        raise ConfigError(f"train.batch_size {batch_size} does not divide over {many} processes")
    own = batch_size // many

    def batch(step: int) -> dict[str, np.ndarray]:
        places = step * batch_size + number * own + np.arange(own)
        orders = {
            epoch: np.random.default_rng([seed, epoch]).permutation(count)
            for epoch in np.unique(places // count).tolist()
        }
        return take(np.array([orders[p // count][p % count] for p in places.tolist()]))

    return endless(batch, batch_size, threads=0)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Windows:
    """The endless stream of windows, indexed by position.

    Attributes:
        items: [n] int32, all histories one after the other.
        offsets: [U+1] int64, where each history begins.
        length: largest number of items in a window.
        seed: seed of every random draw.
        users: whether the user's number precedes the items of each window.

    Example:
        >>> windows = Windows.of([np.arange(2), np.arange(9)], length=4, seed=0)
        >>> windows.per_epoch, sorted(windows.lengths.tolist())
        (4, [2, 4, 4, 4])
    """

    items: np.ndarray
    offsets: np.ndarray
    length: int
    seed: int
    users: bool = False

    @classmethod
    def of(cls, source: Source, *, length: int, seed: int, users: bool = False) -> Self:
        """Read all histories of a source.

        Raises:
          DataError: there are no users, or a user has no items.
          ConfigError: `length` is below 1.
        """
        if length < 1:
            raise ConfigError(f"length must be at least 1, got {length}")
        histories = _read_all(source)
        if not histories:
            raise DataError("there are no users to train on because the source is empty")
        counts = np.array([len(history) for history in histories])
        if (counts == 0).any():
            user = int(np.flatnonzero(counts == 0)[0])
            raise DataError(
                f"{(counts == 0).sum():,} of {len(counts):,} users have no items to train on "
                f"(the first is user {user}); leave them out before training"
            )
        return cls(
            items=np.concatenate(histories).astype(np.int32),
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            length=length,
            seed=seed,
            users=users,
        )

    @functools.cached_property
    def _tiles(self) -> tuple[np.ndarray, np.ndarray]:
        """User [W] and number of the tile within the user [W], for every window of an epoch."""
        counts, half = np.diff(self.offsets), self.length // 2
        # Tiles cover half a window more than the history; otherwise some could hardly move.
        tiles = np.where(counts > self.length, -(-(counts + half) // self.length), 1)
        user = np.repeat(np.arange(len(counts)), tiles)
        first = np.concatenate([[0], np.cumsum(tiles)[:-1]])
        return user, np.arange(len(user)) - first[user]

    @property
    def per_epoch(self) -> int:
        """W, the number of windows in an epoch."""
        return len(self._tiles[0])

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        """Number of items [W] of the windows of an epoch; all epochs have the same numbers."""
        return np.minimum(np.diff(self.offsets), self.length)[self._tiles[0]]

    @property
    def padding(self) -> float:
        """Share of padding if every window is a row of `length` items."""
        return 1.0 - float(self.lengths.mean()) / self.length

    def generator(self, *words: int) -> np.random.Generator:
        """Return a generator that depends on the seed and on a sequence of numbers."""
        return np.random.default_rng([self.seed & _KEY, *words])

    def epoch(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return first and end [W] of each window of an epoch in `items`, in training order."""
        rng = self.generator(number)
        user, tile = self._tiles
        start, count = self.offsets[user], np.diff(self.offsets)[user]
        # The tiles are longer than the history by `spare`. They begin `phase` items before it, but
        # none lies completely outside. Tiles that reach over an end are moved inside, so that long
        # histories give full windows.
        spare = np.maximum(np.bincount(user) * self.length - np.diff(self.offsets), 0)
        lowest = np.maximum(spare - self.length + 1, 0)
        phase = rng.integers(lowest, np.maximum(np.minimum(spare, self.length - 1), lowest) + 1)
        latest = np.maximum(count - self.length, 0)
        place = np.clip(tile * self.length - phase[user], 0, latest)
        order = rng.permutation(len(user))
        first = (start + place)[order]
        return first, first + np.minimum(count, self.length)[order]

    def draw(self, places: Iterable[int]) -> Iterator[tuple[np.ndarray, np.random.Generator]]:
        """Yield (items, generator) of the windows at some positions of the stream.

        A generator is valid until the next window is drawn.
        """
        # Philox is a counter. Setting it to the position gives each window its own stream, at a
        # tenth of the cost of seeding a generator.
        bits = np.random.Philox(key=self.seed & _KEY)
        state: Any = bits.state
        rng = np.random.Generator(bits)
        for place in places:
            number, index = divmod(place, self.per_epoch)
            begin, end = self._cached_epoch(number)
            state["state"]["counter"][:] = (0, 0, place, 1)
            bits.state = state
            items = self.items[begin[index] : end[index]]
            if self.users:
                user = np.searchsorted(self.offsets, begin[index], side="right") - 1
                items = np.insert(items, 0, user)
            yield items, rng

    @functools.cached_property
    def _cached_epoch(self) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
        # Two epochs are cached, because a batch may end one and begin the next.
        return functools.lru_cache(maxsize=2)(self.epoch)


_KEY = (1 << 64) - 1


def pad_left(items: np.ndarray, rng: np.random.Generator, *, length: int) -> dict[str, np.ndarray]:
    """Encode a window as "items" [length] int32, padded with zeros on the left, and "mask" bool.

    Example:
        >>> pad_left(np.array([7, 8]), np.random.default_rng(0), length=3)["items"].tolist()
        [0, 7, 8]
    """
    del rng
    padded = np.zeros(length, np.int32)
    mask = np.zeros(length, bool)
    padded[length - len(items) :] = items
    mask[length - len(items) :] = True
    return {"items": padded, "mask": mask}


def stack(rows: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Stack encoded windows: name -> [len(rows), ...].

    Raises:
        ConfigError: the shapes of a field differ; the message names the field.
    """
    batch = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        try:
            batch[name] = np.stack(values)
        except ValueError as error:
            shapes = sorted({np.shape(value) for value in values})
            raise ConfigError(
                f"encoded field {name!r} has shapes {shapes} in one batch; pad it to one shape"
            ) from error
    return batch


def _read_all(source: Source) -> list[np.ndarray]:
    together = getattr(source, "__getitems__", None)
    if together is None:
        return [np.asarray(source[user]) for user in range(len(source))]
    histories: list[np.ndarray] = []
    for first in range(0, len(source), _CHUNK):
        histories += together(range(first, min(first + _CHUNK, len(source))))
    return histories
