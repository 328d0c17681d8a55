"""BERT's pre-training batches: masked tokens, and whether one part of a text follows the other.

    begin a a a a end b b b end . .        tokens
    0     0 0 0 0 0   1 1 1 1   0 0        types

In half of BERT's pairs b goes on where a ends; in the other half it comes from another document.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.data import ReservedTokens, Windows, endless, host_rows
from jaxrec.objectives.masked_language import mask_for_prediction
from jaxrec.objectives.phrases import Phrases
from jaxrec.objectives.token_noise import noise_count

if TYPE_CHECKING:
    import grain

# Three tokens of a pair are ends. The shortest pair has two tokens on each side of its cut.
_ENDS, _SHORTEST = 3, 4


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PairMasking:
    """How documents become examples of masked language modeling and next-sentence prediction.

    Attributes:
      length: T, tokens of a pair with its three ends.
      reserved: of the tokenizer.
      rate: share of tokens to predict.
      starts: `[V]` bool from `word_starts`, to predict whole words; None for single tokens.
      phrases: with `starts`, phrases that are predicted whole like words; None for none.
      salient: with `phrases`, share of the pairs that hide tokens of phrases alone, if they have
        any: salient span masking (Guu et al., REALM, 2020, arXiv:2002.08909, section 3.4).

    Raises:
      ConfigError: a pair does not fit.
    """

    length: int
    reserved: ReservedTokens
    rate: float = 0.15
    starts: np.ndarray | None = None
    phrases: Phrases | None = None
    salient: float = 0.0

    def __post_init__(self) -> None:
        """Reject a length without room for a pair, and phrases without words."""
        if self.phrases is not None and self.starts is None:
            raise ConfigError("phrases are joined from whole words; give starts too")
        if self.length < _ENDS + _SHORTEST:
            raise ConfigError(
                f"a length of {self.length} tokens cannot hold two parts and their {_ENDS} ends; "
                f"give at least {_ENDS + _SHORTEST}"
            )

    @property
    def predictions(self) -> int:
        """P, the largest number of tokens to predict in a pair."""
        return noise_count(self.length - _ENDS, self.rate)

    def example(
        self, first: np.ndarray, second: np.ndarray, follows: bool, rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Mask a pair and lay it out.

        Args:
          first: int32 tokens of the first part.
          second: int32 tokens of the second part; both fit into the length.
          follows: whether the second part goes on where the first one ends.
          rng: random generator.

        Returns:
          "tokens" `[T]` int32, "valid" `[T]` bool, "types" `[T]` int32; "places" and "labels" `[P]`
          int32, "weights" `[P]` float32; "follows" int32.
        """
        begin, end = [self.reserved.bos], [self.reserved.eos]
        text = np.concatenate([begin, first, end, second, end]).astype(np.int32)
        candidates = np.ones(len(text), bool)
        candidates[[0, 1 + len(first), -1]] = False
        if self.salient and rng.random() < self.salient:
            candidates = self._phrases_of(text, candidates)
        masked = mask_for_prediction(
            text,
            candidates,
            self.reserved.mask,
            self.reserved.ordinary,
            rng,
            self.rate,
            self._starts(text),
        )
        tokens = np.full(self.length, max(self.reserved.pad, 0), np.int32)
        tokens[: len(text)] = masked.tokens
        column = np.arange(self.length)
        count = len(masked.places)
        row: dict[str, np.ndarray] = {
            "tokens": tokens,
            "valid": column < len(text),
            "types": ((column >= 2 + len(first)) & (column < len(text))).astype(np.int32),
            "places": np.zeros(self.predictions, np.int32),
            "labels": np.zeros(self.predictions, np.int32),
            "weights": (np.arange(self.predictions) < count).astype(np.float32),
            "follows": np.array(follows, np.int32),
        }
        row["places"][:count], row["labels"][:count] = masked.places, masked.labels
        return row

    def _phrases_of(self, text: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """The candidates that belong to phrases, or all of them if none does: `[n]` bool."""
        assert self.phrases is not None and self.starts is not None
        covered = candidates & self.phrases.cover(text, self.starts[text])
        return covered if covered.any() else candidates

    def _starts(self, text: np.ndarray) -> np.ndarray | None:
        """Which tokens of a text begin a word or a phrase: `[n]` bool."""
        if self.starts is None:
            return None
        starts = self.starts[text]
        return starts if self.phrases is None else self.phrases.join(text, starts)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Pairs:
    """The endless stream of pairs of a corpus, indexed by position.

    Attributes:
      masking: how a pair is masked.
      documents: tokens of each document, int32.
      seed: seed of windows, pairs and masks.
      following: share of pairs whose second part goes on where the first one ends.

    Raises:
      DataError: fewer than two documents have enough tokens for a pair.

    Example:
      >>> from jaxrec.data import train_reserved
      >>> reserved = ReservedTokens.of(train_reserved(["a film"], 370))
      >>> masking = PairMasking(length=16, reserved=reserved)
      >>> pairs = Pairs(masking, [np.arange(200, 240), np.arange(240, 280)], seed=0)
      >>> int(pairs.draw(range(1))[0]["tokens"][0]) == reserved.bos
      True
    """

    masking: PairMasking = dataclasses.field(kw_only=False)
    documents: Sequence[np.ndarray] = dataclasses.field(kw_only=False)
    seed: int
    following: float = 0.5

    def __post_init__(self) -> None:
        """Leave out documents that are too short."""
        kept = [np.asarray(d, np.int32) for d in self.documents if len(d) >= _SHORTEST]
        if len(kept) < 2:
            raise DataError(
                f"next-sentence prediction needs 2 documents of at least {_SHORTEST} tokens, "
                f"because some of its pairs join different ones, and {len(kept)} of "
                f"{len(self.documents)} are so long; separate the documents of the text, or choose "
                "another objective"
            )
        object.__setattr__(self, "documents", kept)

    @functools.cached_property
    def windows(self) -> Windows:
        """Where the pairs are cut out of the documents."""
        length = self.masking.length - _ENDS
        return Windows.of(self.documents, length=length, seed=self.seed, users=True)

    @property
    def per_epoch(self) -> int:
        """Number of pairs in an epoch."""
        return self.windows.per_epoch

    def draw(self, places: range) -> list[dict[str, np.ndarray]]:
        """Return the examples at some positions of the stream."""
        return [self._pair(int(row[0]), row[1:], rng) for row, rng in self.windows.draw(places)]

    def _pair(
        self, document: int, tokens: np.ndarray, rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        # Each part has at least a quarter of the window: a token or two tell nothing.
        low = max(1, len(tokens) // 4)
        cut = int(rng.integers(low, len(tokens) - low + 1))
        first, second = tokens[:cut], tokens[cut:]
        follows = bool(rng.random() < self.following)
        if not follows:
            other = int(rng.integers(len(self.documents) - 1))
            text = self.documents[other + (other >= document)]
            begin = int(rng.integers(max(len(text) - len(second), 0) + 1))
            second = text[begin : begin + len(second)]
        return self.masking.example(first, second, follows, rng)


def pair_batches(
    pairs: Pairs, *, batch_size: int, shard: tuple[int, int] = (0, 1)
) -> "grain.IterDataset[Mapping[str, np.ndarray]]":
    """Return an endless, seeded, resumable Grain dataset of batches of `masked_loss`.

    Args:
      pairs: the stream of pairs.
      batch_size: pairs in a batch, over all hosts.
      shard: (this host, number of hosts); each host gets its part of every batch.

    Raises:
      ConfigError: the hosts cannot share a batch evenly.
    """
    rows = host_rows(batch_size, shard)

    def batch(step: int) -> dict[str, np.ndarray]:
        first = step * batch_size
        return stack_rows(pairs.draw(range(first + rows.start, first + rows.stop)))

    return endless(batch, batch_size, 0)


def stack_rows(rows: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Stack examples of one shape: name -> `[len(rows), ...]`."""
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
