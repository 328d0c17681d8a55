"""A ranker that scores all items at once, such as a sequential network or a baseline.

Shapes: `U` users, `B` users of a batch, `H` items of a history, `I` items, `K` items of a list.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import present
from jaxrec.decode import bucket
from jaxrec.ids import pad_items
from jaxrec.kernels import flat_top_k
from jaxrec.runs.ranker import Asked, check_scores, mask_of, named_users, row_batches

# Most scores of a batch: 0.25 GB.
_SCORES = 1 << 26


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ScoringRanker:
    """A ranker that scores the whole catalogue for each user, a batch at a time.

    Attributes:
      score: maps variables and a batch with "history" `[B, H]`, padded on the left with -1, to
        `[B, I]`; traced. One that is equal to that of another ranker, such as a `Bound`, shares
        its compiled programs.
      variables: of the model.
      num_items: I.
      max_items: number of most recent items that the model reads.
      meaning: what scores are.
      batch_size: users of a full batch; fewer if the catalogue is very large.
      find_users: for a model that reads who the user is: maps names to numbers `[B]`, which batches
        then have as "user"; None for a model that reads histories.
      reads_times: give `score` "times" `[B, H]` too, see `Asked`.
      on_host: whether `score` runs on the host, as over a sparse table, and is not traced.

    Example:
      >>> def score(variables, batch):
      ...     return jnp.tile(variables, (len(batch["history"]), 1))
      >>> ranker = ScoringRanker(
      ...     score=score, variables=jnp.arange(4.0), num_items=4, max_items=8
      ... )
      >>> asked = Asked(histories=[np.array([1])], excluded=[np.array([3])])
      >>> items, scores = ranker.best(asked, top=2)
      >>> items.tolist(), scores.tolist()
      ([[2, 1]], [[2.0, 1.0]])
    """

    score: Callable[[Any, Mapping[str, jax.Array]], jax.Array]
    variables: Any
    num_items: int
    max_items: int
    meaning: str = "score of each item"
    batch_size: int = 256
    find_users: Callable[[Sequence[str]], np.ndarray] | None = None
    reads_times: bool = False
    on_host: bool = False

    def check(self, asked: Asked) -> None:
        """See `Ranker`."""
        if self.find_users is not None:
            self.find_users(named_users(asked))

    def best(self, asked: Asked, top: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Ranker`. Equal scores are in the order of the item numbers."""
        items = np.full((len(asked), top), -1, np.int32)
        scores = np.full((len(asked), top), -np.inf, np.float32)
        lengths = [
            0 if asked.excluded is None else len(asked.excluded[row]) for row in range(len(asked))
        ]
        widths = _powers(max(lengths, default=0))
        for batch in row_batches(lengths, widths, self._most):
            part, count = asked.take(batch.rows), batch.count
            out = None if part.excluded is None else pad_items(part.excluded, batch.width)
            mask = None if part.allowed is None else mask_of(part.allowed, self.num_items)
            score, *read = self._scored(part)
            found = _best(score, top, *read, out, mask)
            rows = batch.rows[:count]
            items[rows], scores[rows] = (np.asarray(x)[:count] for x in found)
        check_scores(scores)
        return np.where(np.isfinite(scores), items, -1), scores

    def scores(self, asked: Asked, items: Sequence[np.ndarray]) -> list[np.ndarray]:
        """See `Ranker`."""
        found: list[np.ndarray] = [np.zeros(0, np.float32)] * len(asked)
        lengths = [len(row) for row in items]
        for batch in row_batches(lengths, _powers(max(lengths, default=0)), self._most):
            part = asked.take(batch.rows)
            wanted = pad_items([items[row] for row in batch.rows], batch.width)
            given = _of_items(*self._scored(part), wanted)
            for row, values in zip(batch.rows[: batch.count], np.asarray(given), strict=False):
                # Lists are padded on the left.
                found[row] = values[batch.width - len(items[row]) :]
        for row in found:
            check_scores(row)
        return found

    @property
    def history_widths(self) -> list[int]:
        """Lengths to which histories are padded: one."""
        return [self.max_items]

    def list_length(self, top: int) -> int:
        """See `ServedRanker`: a short list is the beginning of any longer one."""
        return min(bucket(top, 64), self.num_items)

    def with_batch(self, size: int) -> "ScoringRanker":
        """Return the ranker with batches of at most so many rows."""
        return dataclasses.replace(self, batch_size=size)

    @property
    def _most(self) -> int:
        return max(1, min(self.batch_size, _SCORES // self.num_items))

    def _scored(self, part: Asked) -> tuple[Callable[..., jax.Array], Any, dict[str, Any]]:
        """The score of some rows as a traced function, and its two arguments."""
        rows = [present(row) for row in part.histories]
        batch: dict[str, Any] = {"history": pad_items(rows, self.max_items)}
        if self.reads_times:
            times = [np.full(len(row), -1, np.int32) for row in rows]
            if part.times is not None:
                pairs = zip(part.histories, part.times, strict=True)
                times = [time[row >= 0] for row, time in pairs]
            batch["times"] = pad_items(times, self.max_items)
        if self.find_users is not None:
            batch["user"] = self.find_users(named_users(part)).astype(np.int32)
        if self.on_host:
            return _known, self.score(self.variables, batch), batch
        return self.score, self.variables, batch


def _powers(longest: int) -> list[int]:
    """Widths of lists of excluded items: each eight times the last, up to one that is enough."""
    widths = [16]
    while widths[-1] < longest:
        widths.append(8 * widths[-1])
    widths[-1] = bucket(max(longest, 1))
    return sorted(set(widths))


def _known(scores: jax.Array, batch: Mapping[str, jax.Array]) -> jax.Array:
    """Scores that the host has computed."""
    return scores


@functools.partial(jax.jit, static_argnames=("score", "top"))
def _best(
    score: Callable[..., jax.Array],
    top: int,
    variables: Any,
    batch: Mapping[str, jax.Array],
    excluded: jax.Array | None,
    allowed: jax.Array | None,
) -> tuple[jax.Array, jax.Array]:
    scores = score(variables, batch).astype(jnp.float32)
    if excluded is not None:
        rows = jnp.arange(len(scores), dtype=jnp.int32)[:, None]
        # -1 would be the last item; what lies beyond the end is dropped.
        out = jnp.where(excluded < 0, scores.shape[1], excluded)
        scores = scores.at[rows, out].set(-jnp.inf, mode="drop")
    if allowed is not None:
        scores = jnp.where(allowed, scores, -jnp.inf)
    best, place = flat_top_k(scores, top)
    return place, best


@functools.partial(jax.jit, static_argnames=("score",))
def _of_items(
    score: Callable[..., jax.Array],
    variables: Any,
    batch: Mapping[str, jax.Array],
    items: jax.Array,
) -> jax.Array:
    scores = score(variables, batch).astype(jnp.float32)
    return jnp.take_along_axis(scores, jnp.maximum(items, 0), axis=1)
