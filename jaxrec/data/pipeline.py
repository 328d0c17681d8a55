"""Training batches: an endless, seeded, resumable Grain iterator over windows of user histories.

An epoch tiles every history with windows of `length` items from a random start: every interaction
is in at least one window an epoch, and long histories give as many windows as they are long.
One Grain element is one whole batch: Grain costs some 30 microseconds an element, which at one
element a sequence would be the greater part of a batch.

A window depends on the seed and its place in the stream alone, so the stream of windows is the same
whatever the batch size and wherever it is taken up again.

Here every window is a row of its own, padded to one length; `buckets` and `packing` lay the same
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
    """A random-access sequence of item arrays, one a user: a list, or `item_sequences(path)`."""

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

    Call `iter` on it; the iterator has `get_state()` and `set_state(state)` (a small dict of plain
    numbers, as Orbax and JSON take it), and goes on from there exactly.

    Args:
        source: item arrays, one a user, oldest first. Read once and kept: 4 bytes an interaction.
        length: most items in a window; a shorter history is one window, whole.
        batch_size: windows in a batch, over all hosts.
        seed: decides order, windows and what `encode` draws.
        encode: items ([1..length] int32), generator -> name -> array, of the same shape for every
            window; it must not keep the generator. None pads on the left: "items" [length] int32
            and "mask" [length] bool.
        threads: Grain threads that prepare batches ahead. 0 is fastest where a batch takes less
            time than handing it over, as it does unless `encode` is heavy.
        shard: (this host, hosts): each host gets its part of every batch.

    Returns:
        Batches: name -> [batch_size / hosts, ...], the encoded windows stacked.

    Raises:
        DataError: no users, or a user without items (leave such users out first).
        ConfigError: a size that is not positive, or a batch that the hosts cannot share evenly.
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
    """`training_sequences` of windows that are at hand already."""
    rows = host_rows(batch_size, shard)
    encode = encode or functools.partial(pad_left, length=windows.length)

    def batch(step: int) -> dict[str, np.ndarray]:
        first = step * batch_size
        places = range(first + rows.start, first + rows.stop)
        return stack([encode(items, rng) for items, rng in windows.draw(places)])

    return endless(batch, batch_size, threads)


def host_rows(batch_size: int, shard: tuple[int, int]) -> slice:
    """Rows of every batch that are a host's.

    Raises:
      ConfigError: no such host, or a batch that the hosts cannot share evenly.
    """
    host, hosts = shard
    if batch_size < 1:
        raise ConfigError(f"batch_size must be at least 1, got {batch_size}")
    if not 0 <= host < hosts or batch_size % hosts:
        raise ConfigError(
            f"shard {host} of {hosts} with batch_size {batch_size}; the shard must be below the "
            "number of hosts, and the batch a multiple of it"
        )
    size = batch_size // hosts
    return slice(host * size, (host + 1) * size)


def endless(
    batch: Callable[[int], dict[str, np.ndarray]], rows: int, threads: int
) -> "grain.IterDataset[dict[str, np.ndarray]]":
    """Make a Grain dataset whose element `step` is `batch(step)`, of at most `rows` rows."""
    import grain

    steps = grain.MapDataset.range(sys.maxsize // (2 * rows))  # for all purposes endless
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(2, 2 * threads))
    return steps.map(batch).to_iter_dataset(options)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Windows:
    """The endless stream of windows, by place in the stream.

    Attributes:
        items: [n] int32, all histories one after the other.
        offsets: [U+1] int64, where each begins.
        length: most items in a window.
        seed: decides everything random.
        users: whether the number of the user stands before the items of each window.
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
          DataError: no users, or a user without items.
          ConfigError: a length below 1.
        """
        if length < 1:
            raise ConfigError(f"length must be at least 1, got {length}")
        histories = _read_all(source)
        if not histories:
            raise DataError("no users to train on; the source is empty")
        counts = np.array([len(history) for history in histories])
        if (counts == 0).any():
            user = int(np.flatnonzero(counts == 0)[0])
            raise DataError(
                f"{(counts == 0).sum():,} of {len(counts):,} users have no items to train on, "
                f"first user {user}; leave them out before training"
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
        """[W] user and [W] number of the tile within the user, for every window of an epoch."""
        counts, half = np.diff(self.offsets), self.length // 2
        # Half a window more than the history, or the tiles of some histories could hardly move.
        tiles = np.where(counts > self.length, -(-(counts + half) // self.length), 1)
        user = np.repeat(np.arange(len(counts)), tiles)
        first = np.concatenate([[0], np.cumsum(tiles)[:-1]])
        return user, np.arange(len(user)) - first[user]

    @property
    def per_epoch(self) -> int:
        """W: the windows of an epoch."""
        return len(self._tiles[0])

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        """[W] items of the windows of an epoch, in no order: the same in every epoch."""
        return np.minimum(np.diff(self.offsets), self.length)[self._tiles[0]]

    @property
    def padding(self) -> float:
        """Share of padding when every window is a row of `length` items."""
        return 1.0 - float(self.lengths.mean()) / self.length

    def generator(self, *words: int) -> np.random.Generator:
        """Return a generator of its own for each sequence of words, decided by the seed."""
        return np.random.default_rng([self.seed & _KEY, *words])

    def epoch(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return [W] first and [W] end of each window of an epoch in `items`, in training order."""
        rng = self.generator(number)
        user, tile = self._tiles
        start, count = self.offsets[user], np.diff(self.offsets)[user]
        # The tiles are longer than the history by `spare`. They begin `phase` before it, such that
        # none lies wholly outside; what hangs over an end is moved inside, because a long history
        # shall give full windows.
        spare = np.maximum(np.bincount(user) * self.length - np.diff(self.offsets), 0)
        lowest = np.maximum(spare - self.length + 1, 0)
        phase = rng.integers(lowest, np.maximum(np.minimum(spare, self.length - 1), lowest) + 1)
        latest = np.maximum(count - self.length, 0)
        place = np.clip(tile * self.length - phase[user], 0, latest)
        order = rng.permutation(len(user))
        first = (start + place)[order]
        return first, first + np.minimum(count, self.length)[order]

    def draw(self, places: Iterable[int]) -> Iterator[tuple[np.ndarray, np.random.Generator]]:
        """Yield (items, generator) of the windows at some places of the stream.

        The generator is good until the next window is drawn.
        """
        # Philox is a counter: setting it to the place gives each window its own stream at a tenth
        # of the cost of seeding a generator.
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
        # Two epochs: a batch may end one and begin the next.
        return functools.lru_cache(maxsize=2)(self.epoch)


_KEY = (1 << 64) - 1


def pad_left(items: np.ndarray, rng: np.random.Generator, *, length: int) -> dict[str, np.ndarray]:
    """Encode a window as "items" [length] int32, zeros on the left, and "mask" [length] bool."""
    del rng
    padded = np.zeros(length, np.int32)
    mask = np.zeros(length, bool)
    padded[length - len(items) :] = items
    mask[length - len(items) :] = True
    return {"items": padded, "mask": mask}


def stack(rows: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Stack encoded windows: name -> [len(rows), ...].

    Raises ConfigError naming the field whose shapes differ.
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
