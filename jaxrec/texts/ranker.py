"""A ranker whose model reads prompts, for `jaxrec.open`."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from jaxrec.decode import bucket
from jaxrec.ids import pad_items
from jaxrec.runs import (
    Asked,
    Kept,
    RowBatch,
    batch_sizes,
    check_scores,
    mask_of,
    named_users,
    row_batches,
)
from jaxrec.texts.prompted import Prompted

# Shortest prompts for which programs are compiled, in tokens.
_SHORTEST = 32
# Most users times items of a mask.
_MASKED = 1 << 24

# From user numbers, -1 for nobody, and histories to prompts.
WritePrompts = Callable[[Sequence[int], Sequence[np.ndarray]], Sequence[str]]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PromptRanker:
    """See `Ranker`.

    Attributes:
      prompted: the model, its tokenizer and its items.
      write: writes the prompts.
      kept: users of the run.
      reads_user: whether prompts name the user.
      beams: width of the search for lists that are not longer.
      meaning: what scores are.
      max_items: number of most recent items that prompts name.
      codes: `[I, L]` item IDs; None without any.
    """

    prompted: Prompted
    write: WritePrompts
    kept: Kept
    reads_user: bool
    beams: int
    meaning: str
    max_items: int
    codes: np.ndarray | None = None

    @property
    def num_items(self) -> int:
        """I, number of items."""
        return self.prompted.num_items

    def check(self, asked: Asked) -> None:
        """See `Ranker`."""
        if self.reads_user:
            self.kept.find(named_users(asked))

    @property
    def history_widths(self) -> list[int]:
        """See `ServedRanker`; programs depend on the tokens of prompts, see `warm_up`."""
        return [self.max_items]

    def list_length(self, top: int) -> int:
        """See `ServedRanker`: the beam width of the search for a list."""
        return min(self.beams if top <= self.beams else bucket(top), self.num_items)

    def with_batch(self, size: int) -> "PromptRanker":
        """See `ServedRanker`."""
        return dataclasses.replace(
            self, prompted=dataclasses.replace(self.prompted, batch_size=size)
        )

    def warm_up(self, length: int) -> None:
        """See `WarmedRanker`: prompts of all lengths, in batches of all sizes, with all limits."""
        names = self.kept.user_ids[:1].tolist() if self.reads_user else [""]
        written = [len(text) for text in self.kept.items.labels()]
        order = np.argsort(written, kind="stable").astype(np.int32)
        nothing, every = np.zeros(0, np.int32), np.arange(self.num_items, dtype=np.int32)
        known: set[tuple[int, int]] = set()
        for count in range(min(self.max_items, self.num_items) + 1):
            # Histories of the items with the shortest and the longest titles.
            for history in (order[:count], order[len(order) - count :]):
                row = Asked(histories=[history], users=names)
                (width,) = {batch.width for batch in self._batches(self._prompts(row))}
                for size in batch_sizes(self.prompted.batch_size):
                    if (width, size) in known:
                        continue
                    known.add((width, size))
                    rows = row.take(np.zeros(size, int))
                    self.best(dataclasses.replace(rows, excluded=[nothing] * size), length)
                    self.best(dataclasses.replace(rows, allowed=[every] * size), length)

    def best(self, asked: Asked, top: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Ranker`. The search is wider than `beams` only for longer lists."""
        beams = self.list_length(top)
        items = np.full((len(asked), top), -1, np.int32)
        scores = np.full((len(asked), top), -np.inf, np.float32)
        prompts = self._prompts(asked)
        for batch in self._batches(prompts):
            part, rows = asked.take(batch.rows), batch.rows[: batch.count]
            allowed, excluded = self._limits(part)
            found = self.prompted.recommend(
                [prompts[row] for row in batch.rows],
                beams=beams,
                allowed=allowed,
                excluded=excluded,
                length=batch.width,
            )
            items[rows], scores[rows] = (x[: batch.count, :top] for x in found)
        check_scores(scores)
        return items, scores

    def scores(self, asked: Asked, items: Sequence[np.ndarray]) -> list[np.ndarray]:
        """See `Ranker`."""
        prompts = self._prompts(asked)
        found = [
            self.prompted.score_items([prompt], row[None])[0].astype(np.float32)
            for prompt, row in zip(prompts, items, strict=True)
        ]
        for row in found:
            check_scores(row)
        return found

    def _batches(self, prompts: Sequence[str]) -> Iterator[RowBatch]:
        tokens = self.prompted.tokenizer.backend_tokenizer
        lengths = [len(row.ids) for row in tokens.encode_batch_fast(list(prompts))]
        widths = [_SHORTEST]
        while widths[-1] < max(lengths, default=0):
            widths.append(2 * widths[-1])
        return row_batches(lengths, widths, self.prompted.batch_size)

    def _prompts(self, asked: Asked) -> Sequence[str]:
        if not self.reads_user:
            return self.write([-1] * len(asked), asked.histories)
        return self.write(self.kept.find(named_users(asked)).tolist(), asked.histories)

    def _limits(self, part: Asked) -> tuple[np.ndarray | None, list[np.ndarray] | None]:
        """A mask of allowed items, or lists of excluded ones padded to one of few lengths."""
        allowed = None if part.allowed is None else mask_of(part.allowed, self.num_items)
        if part.excluded is None:
            return allowed, None
        if len(part) * self.num_items <= _MASKED:
            kept = ~mask_of(part.excluded, self.num_items)
            return kept if allowed is None else allowed & kept, None
        return allowed, list(pad_items(part.excluded, bucket(max(map(len, part.excluded)))))
