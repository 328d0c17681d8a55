"""A ranker whose model reads prompts, for `jaxrec.open`."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from jaxrec.core import ConfigError
from jaxrec.decode import bucket
from jaxrec.ids import pad_items
from jaxrec.runs import Asked, Kept, check_scores, mask_of, row_batches
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
      codes: `[I, L]` item IDs; None without any.
    """

    prompted: Prompted
    write: WritePrompts
    kept: Kept
    reads_user: bool
    beams: int
    meaning: str
    codes: np.ndarray | None = None

    @property
    def num_items(self) -> int:
        """I, number of items."""
        return self.prompted.num_items

    def best(self, asked: Asked, top: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Ranker`. The search is wider than `beams` only for longer lists."""
        beams = min(self.beams if top <= self.beams else bucket(top), self.num_items)
        items = np.full((len(asked), top), -1, np.int32)
        scores = np.full((len(asked), top), -np.inf, np.float32)
        prompts = self._prompts(asked)
        tokens = self.prompted.tokenizer.backend_tokenizer
        lengths = [len(row.ids) for row in tokens.encode_batch_fast(list(prompts))]
        widths = [_SHORTEST]
        while widths[-1] < max(lengths, default=0):
            widths.append(2 * widths[-1])
        for batch in row_batches(lengths, widths, self.prompted.batch_size):
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

    def _prompts(self, asked: Asked) -> Sequence[str]:
        named = list(asked.users) if asked.users is not None else [""] * len(asked)
        if not self.reads_user:
            return self.write([-1] * len(asked), asked.histories)
        if not all(named):
            raise ConfigError(
                "this model's prompts name the user; give users, or name a user of the run with "
                "each history: histories={'63': [...]}"
            )
        return self.write(self.kept.find(named).tolist(), asked.histories)

    def _limits(self, part: Asked) -> tuple[np.ndarray | None, list[np.ndarray] | None]:
        """A mask of allowed items, or lists of excluded ones padded to one of few lengths."""
        allowed = None if part.allowed is None else mask_of(part.allowed, self.num_items)
        if part.excluded is None:
            return allowed, None
        if len(part) * self.num_items <= _MASKED:
            kept = ~mask_of(part.excluded, self.num_items)
            return kept if allowed is None else allowed & kept, None
        return allowed, list(pad_items(part.excluded, bucket(max(map(len, part.excluded)))))
