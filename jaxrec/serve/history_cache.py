"""What was read of users' histories, kept between requests: a longer history reads what is new.

An entry belongs to one user of one client: its name is a digest of the client's API key and of the
user's name in the request, so no client reaches an entry of another one. And an entry is used only
where its tokens are the beginning of the history that a request shows, so no answer depends on what
is kept: a history that has changed, or that has become shorter, is read from the start.

All entries are rows of one array of a fixed size, see `decode.HistoryPool`; the user who has been
away the longest gives up the row. Only the thread of the device comes here.
"""

import collections
import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError
from jaxrec.decode import (
    History,
    HistoryPool,
    ReadRows,
    extend_from_pool,
    read_for_pool,
    store_in_pool,
)
from jaxrec.ids import PAD

# Numbers of new items for which there are programs. A history with more of them is read from the
# start, which costs little more.
_NEW = (2, 8)
_MEGABYTE = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class CacheCounts:
    """What has happened to a cache; numbers only grow, but for `entries` and `bytes`.

    Attributes:
      hits: histories of which only what is new was read.
      misses: histories of named users that were read from the start.
      evictions: entries that were given up for others.
      entries: users in the cache.
      bytes: that these occupy.
    """

    hits: int = 0
    misses: int = 0
    evictions: int = 0
    entries: int = 0
    bytes: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class CachedPrefix:
    """How much of a history is kept.

    Attributes:
      row: of the pool.
      have: number of tokens that need not be read.
      room: to which number of tokens the new ones are padded.
    """

    row: int
    have: int
    room: int


@dataclasses.dataclass(frozen=True, eq=False)
class CachedPart:
    """Rows of a batch whose histories are read in one call.

    Attributes:
      places: their places in the batch.
      kept: what is kept of each of them, all with the same `room`; none if all of them are read
        from the start.
    """

    places: list[int]
    kept: list[CachedPrefix]


def cache_key(client: bytes, user: str) -> bytes:
    """Return the name of a user's entry, of one length for all users.

    Args:
      client: digest of the API key of the request; b"" in an open service.
      user: as the request names the user.

    Example:
      >>> cache_key(b"1", "23") == cache_key(b"12", "3")
      False
    """
    # The length says where the client ends, so that no two pairs are the same text.
    return hashlib.sha256(b"%d:" % len(client) + client + user.encode()).digest()


class HistoryCache:
    """Entries of users, least recently used ones first.

    Args:
      ranker: `GenerativeRanker` of a causal decoder.
      megabytes: most memory for keys and values.
      most_rows: rows of the largest batch, all of which must fit.

    Raises:
      ConfigError: a model whose reading cannot be kept, with the reason, or too little memory.

    Attributes:
      counts: what has happened.
      rooms: numbers of tokens to which new ones are padded.

    Example:
      >>> from jaxrec.testing import four_films
      >>> HistoryCache(four_films().ranker, 64, 8)
      Traceback (most recent call last):
      jaxrec.core.errors.ConfigError: --cache-mb: this model has no history cache, because it ...
    """

    def __init__(self, ranker: Any, megabytes: int, most_rows: int) -> None:
        reason = getattr(ranker, "uncached", "it scores all items at once, and keeps no keys")
        if reason:
            raise ConfigError(f"--cache-mb: this model has no history cache, because {reason}")
        base = ranker.recommender
        self._model, self._params = base.model, base.params
        self._slots = 1 + base.max_items * base.codes.levels
        row = HistoryPool.bytes_of_row(self._model, self._params, self._slots)
        # The name, the tokens, and what Python needs for them.
        self._row_bytes = row + 4 * self._slots + 400
        # One more row takes what nobody keeps.
        count = megabytes * _MEGABYTE // self._row_bytes - 1
        if count < most_rows:
            least = -(-(most_rows + 1) * self._row_bytes // _MEGABYTE)
            raise ConfigError(
                f"--cache-mb {megabytes} holds {max(count, 0)} histories of "
                f"{self._row_bytes / _MEGABYTE:.2f} MB, and the largest batch has {most_rows} of "
                f"them; give at least {least}, or smaller --batch-sizes"
            )
        self._count = count
        self.rooms = tuple(
            new * base.codes.levels for new in _NEW if new <= max(base.max_items // 2, _NEW[0])
        )
        self.counts = CacheCounts()
        self.clear()

    @property
    def nobody(self) -> int:
        """The row of the pool that no user has."""
        return self._count

    def clear(self) -> None:
        """Forget all entries."""
        self._pool = HistoryPool.empty(self._model, self._params, self._count + 1, self._slots)
        # Entries: the name, its row of the pool, and the tokens in it.
        self._entries: collections.OrderedDict[bytes, tuple[int, np.ndarray]] = (
            collections.OrderedDict()
        )
        self._free = list(range(self._count))
        self._count_again()

    def follow(self, params: Any) -> None:
        """Forget all entries if these are other parameters than those that read them.

        Another version of the catalogue has the same parameters. What it changes are tokens of
        items, and the tokens of every entry are compared with those of the request.
        """
        if params is not self._params:
            self._params = params
            self.clear()

    def split(self, keys: Sequence[bytes | None], tokens: Sequence[np.ndarray]) -> list[CachedPart]:
        """Divide rows by what is kept of their histories; rows that are read on come first.

        Args:
          keys: see `cache_key`; None for histories of nobody.
          tokens: of the histories, without padding.
        """
        found = [self._find(key, own) for key, own in zip(keys, tokens, strict=True)]
        named = sum(key is not None for key in keys)
        hits = sum(one is not None for one in found)
        self.counts = dataclasses.replace(
            self.counts, hits=self.counts.hits + hits, misses=self.counts.misses + named - hits
        )
        parts = []
        for room in (*self.rooms, 0):
            places = [place for place, one in enumerate(found) if (one.room if one else 0) == room]
            if places:
                kept = [one for place in places if (one := found[place])]
                parts.append(CachedPart(places, kept))
        return parts

    def nothing(self, room: int, count: int) -> CachedPart:
        """Return a part with one row of `count` tokens of nobody, to compile a program with."""
        return CachedPart([0], [CachedPrefix(self.nobody, max(count - room, 0), room)])

    def _find(self, key: bytes | None, tokens: np.ndarray) -> CachedPrefix | None:
        row, kept = (0, None) if key is None else self._entries.get(key, (0, None))
        if kept is None or len(kept) > len(tokens) or (kept != tokens[: len(kept)]).any():
            return None
        # The state of the last token is not kept, so at least one token is read.
        have = min(len(kept), len(tokens) - 1)
        room = next((room for room in self.rooms if room >= len(tokens) - have), None)
        return None if room is None else CachedPrefix(row, have, room)

    def reader(self, keys: Sequence[bytes | None], part: CachedPart) -> ReadRows:
        """Return what reads the histories of a call of `GenerativeRanker.lists`.

        Args:
          keys: names of the entries that the histories become, row by row.
          part: what is kept of them; its last row stands for all further ones.
        """

        def read(tokens: np.ndarray, rows: np.ndarray) -> History:
            numbers = rows.tolist()
            own = [row[row != PAD] for row in tokens]
            # Rows that fill a batch up, and a user's second history, are not kept.
            seen: set[bytes | None] = {None}
            names: list[bytes | None] = []
            for number in numbers:
                key = keys[number]
                names.append(None if key in seen else key)
                seen.add(key)
            if not part.kept:
                places = self._rows_for(names)
                reading = read_for_pool(self._model, self._params, jnp.asarray(tokens))
            else:
                kept = [part.kept[min(number, len(part.kept) - 1)] for number in numbers]
                places = self._taken(names, kept)
                new = np.full((len(kept), kept[0].room), PAD, np.int32)
                for row, mine, one in zip(new, own, kept, strict=True):
                    row[: len(mine) - one.have] = mine[one.have :]
                reading = extend_from_pool(
                    self._model,
                    self._params,
                    self._pool,
                    jnp.asarray([one.row for one in kept], jnp.int32),
                    jnp.asarray([one.have for one in kept], jnp.int32),
                    jnp.asarray(new),
                    tokens.shape[1],
                )
            self._pool = store_in_pool(
                self._pool, jnp.asarray(places, jnp.int32), reading.slots, reading.new
            )
            for name, place, mine in zip(names, places, own, strict=True):
                if name is not None and place != self.nobody:
                    self._entries[name] = place, mine.copy()
            self._count_again()
            return reading.history

        return read

    def _taken(self, names: Sequence[bytes | None], kept: Sequence[CachedPrefix]) -> list[int]:
        """Rows to which what was read on is written; their entries are gone until it is."""
        for name in names:
            if name is not None:
                del self._entries[name]
        return [
            self.nobody if name is None else one.row for name, one in zip(names, kept, strict=True)
        ]

    def _rows_for(self, names: Sequence[bytes | None]) -> list[int]:
        """Rows for histories read from the start; of others those that were away the longest."""
        places, evictions = [], 0
        for name in names:
            if name is None:
                places.append(self.nobody)
                continue
            row, _ = self._entries.pop(name, (None, None))
            if row is None and self._free:
                row = self._free.pop()
            if row is None:
                _, (row, _) = self._entries.popitem(last=False)
                evictions += 1
            places.append(row)
        self.counts = dataclasses.replace(self.counts, evictions=self.counts.evictions + evictions)
        return places

    def _count_again(self) -> None:
        entries = len(self._entries)
        self.counts = dataclasses.replace(
            self.counts, entries=entries, bytes=entries * self._row_bytes
        )
