"""Texts as rows of states: the encoder's lower layers computed once, and batches of equal length.

Shapes: `N` rows, `T` tokens, `W` words, `D` width, `K` kinds, `C` tags. A batch has room for as
many words as tokens, because a word has at least one.
"""

import contextlib
import dataclasses
import functools
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import ProgressBar, ResourceError, is_writer, read_array, write_bytes
from jaxrec.data import Buckets, Windows, WordRows, bucket_lengths, bucketed_batches, encode_words
from jaxrec.items import cache_file
from jaxrec.models import SentenceEncoder, lower_states

# Changes whenever other code would compute other states, so that old ones are not read.
_VERSION = 1
_CELLS = 4096  # tokens in each call of the lower layers
_ENOUGH = 32  # rows that pay for the compilation of another length


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Rows:
    """Rows of some texts.

    Attributes:
      words: the rows as tokens.
      states: `[tokens, D]` float32, states after the lower layers of all rows, one after the other.
      lengths: the lengths to which rows are padded, increasing.
    """

    words: WordRows
    states: np.ndarray
    lengths: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.words)

    @functools.cached_property
    def sizes(self) -> np.ndarray:
        """Number of tokens of each row, `[N]`."""
        return self.words.valid.sum(axis=1)

    @functools.cached_property
    def _starts(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(self.sizes)])

    def row(
        self, number: int, length: int, labels: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """One row, padded.

        Args:
          number: of the row.
          length: T, tokens and words.
          labels: arrays `[N, W, ...]` of the words of all rows, to add to it.
        """
        size, count = int(self.sizes[number]), int(self.words.present[number].sum())
        states = np.zeros((length, self.states.shape[1]), np.float32)
        states[:size] = self.states[self._starts[number] : self._starts[number + 1]]
        batch = {
            "states": states,
            "valid": np.arange(length) < size,
            "first": _padded(self.words.first[number, :count], length),
            "present": np.arange(length) < count,
        }
        return batch | {
            name: _padded(values[number, :count], length) for name, values in labels.items()
        }

    def batches(
        self,
        labels: Mapping[str, np.ndarray],
        *,
        batch_size: int,
        seed: int,
        shard: tuple[int, int] = (0, 1),
    ) -> Any:
        """Endless, seeded, resumable batches of training, each of one length.

        Args:
          labels: arrays `[N, W, ...]`.
          batch_size: rows in a batch of the largest length; shorter rows are more.
          seed: of the order.
          shard: number of this process, and how many there are.

        Returns:
          A Grain dataset; its iterator is checkpointable.
        """
        buckets = self._buckets(batch_size, seed)

        def encode(length: int) -> Any:
            # A window holds the number of its row, once for each token.
            return lambda items, rng: self.row(int(items[0]), length, labels)

        return bucketed_batches(buckets, encode=encode, shard=shard)

    def examples(self, labels: Mapping[str, np.ndarray], batch_size: int) -> list[Any]:
        """A batch of each shape that `batches` gives, for plans."""
        buckets = self._buckets(batch_size, 0)
        shortest = int(self.sizes.argmin())  # it fits every length
        return [
            _stacked([self.row(shortest, length, labels)] * rows)
            for length, rows in zip(buckets.lengths, buckets.rows, strict=True)
        ]

    def _buckets(self, batch_size: int, seed: int) -> Buckets:
        rows = [np.full(size, n, np.int32) for n, size in enumerate(self.sizes.tolist())]
        windows = Windows.of(rows, length=int(self.sizes.max()), seed=seed)
        return Buckets.of(windows, count=len(self.lengths), batch_size=batch_size)

    def in_order(self, batch_size: int) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """Every row once, for measurements: numbers of the rows, and their batch.

        The last batch of a length is filled with copies of its last row, which have no number.
        """
        place = np.searchsorted(self.lengths, self.sizes)
        for bucket, length in enumerate(self.lengths):
            numbers = np.flatnonzero(place == bucket)
            most = max(1, batch_size * self.lengths[-1] // length)
            for start in range(0, len(numbers), most):
                chosen = numbers[start : start + most]
                filled = np.pad(chosen, (0, most - len(chosen)), mode="edge")
                yield chosen, _stacked([self.row(int(n), length, {}) for n in filled])


def make_rows(
    encoder: SentenceEncoder,
    directory: Path,
    texts: Sequence[Sequence[str]],
    *,
    layers: int,
    max_length: int,
    buckets: int,
    cached: bool = True,
) -> Rows:
    """Tokenize texts of words and compute their states, or read these from the cache.

    Args:
      encoder: with its tokenizer.
      directory: of the encoder.
      texts: words of each text.
      layers: number of upper layers, which are not computed here.
      max_length: most tokens of a row.
      buckets: most lengths of rows; few rows have one length.
      cached: whether the states are read from the cache and kept there.

    Raises:
      ConfigError: the encoder cannot be cut there, or reads fewer tokens.
      DataError: no texts, or an empty one.
    """
    encoder.model.spec.config.check_length(
        max_length, "--tagger.max-length", "lower it, or take another encoder"
    )
    lowered = [[w.lower() if encoder.lowercase else w for w in words] for words in texts]
    words = encode_words(encoder.tokenizer, lowered, max_length)
    if cached:
        key = [f"states {_VERSION} below {layers} layers, rows of {max_length}"]
        place = cache_file(directory, key + ["\0".join(row) for row in lowered])
        states = _read(place, int(words.valid.sum()))
        if states is None:
            states = _compute(encoder, words, layers)
            _write(place, states)
    else:
        states = _compute(encoder, words, layers)
    return Rows(words=words, states=states, lengths=_lengths(words.valid.sum(axis=1), buckets))


def _lengths(sizes: np.ndarray, most: int) -> tuple[int, ...]:
    """Lengths to which rows are padded: fewer than `most` for few rows."""
    return bucket_lengths(sizes, min(most, max(1, len(sizes) // _ENOUGH)))


def _compute(encoder: SentenceEncoder, words: WordRows, layers: int) -> np.ndarray:
    sizes = words.valid.sum(axis=1)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    states = np.zeros((int(sizes.sum()), encoder.width), np.float32)
    order = np.argsort(sizes, kind="stable")
    lengths = _lengths(sizes, 8)
    place = np.searchsorted(lengths, sizes[order])
    with ProgressBar("encode texts", len(words), "row") as bar:
        done = 0
        for bucket, length in enumerate(lengths):
            numbers, most = order[place == bucket], max(1, _CELLS // length)
            for start in range(0, len(numbers), most):
                chosen = numbers[start : start + most]
                filled = np.pad(chosen, (0, most - len(chosen)), mode="edge")
                tokens, valid = words.tokens[filled], words.valid[filled]
                width = min(length, tokens.shape[1])
                found = np.asarray(
                    lower_states(encoder.model, layers, tokens[:, :width], valid[:, :width])
                )
                for at, row in enumerate(chosen.tolist()):
                    states[starts[row] : starts[row + 1]] = found[at, : sizes[row]]
                done += len(chosen)
                bar.update(done)
    return states


def _read(place: Path, count: int) -> np.ndarray | None:
    """The states in the cache; None if there are none, or not the right ones."""
    with contextlib.suppress(OSError, ValueError, EOFError):
        states = read_array(place)
        if states.dtype == np.float32 and states.ndim == 2 and len(states) == count:
            return np.asarray(states)
    return None


def _write(place: Path, states: np.ndarray) -> None:
    """Keep states in the cache. One that cannot be written costs time and nothing else."""
    stream = io.BytesIO()
    np.save(stream, states, allow_pickle=False)
    with contextlib.suppress(ResourceError, OSError):
        if is_writer():
            write_bytes(place, stream.getvalue())


def _padded(values: np.ndarray, length: int) -> np.ndarray:
    padded = np.zeros((length, *values.shape[1:]), values.dtype)
    padded[: len(values)] = values
    return padded


def _stacked(rows: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
