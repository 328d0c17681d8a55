"""How likely an encoder finds a text: one token is masked at a time (Salazar et al., ACL 2020).

For two sentences that differ in few words, only the tokens that both share are masked, so that the
differing words are a condition and no part of what is scored (Nangia et al., EMNLP 2020, section
4).

Shapes: `B` masked copies, `T` tokens, `V` vocabulary.
"""

import dataclasses
import difflib
import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError
from jaxrec.decode import bucket
from jaxrec.models import Opened
from jaxrec.prompting import LanguageModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@runtime_checkable
class MaskedScorer(Protocol):
    """A model that scores the shared tokens of two texts."""

    def score_shared(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, float]]:
        """Sum of the log-probabilities of the shared tokens in each text of each pair, in nats."""
        ...


@dataclasses.dataclass(frozen=True)
class MaskedPair:
    """Two sentences whose shared tokens an encoder scores; the answer is a pair of numbers.

    Attributes:
      first: a sentence.
      second: one that differs from it in few words.
    """

    first: str
    second: str

    @classmethod
    def ask(
        cls, model: LanguageModel | MaskedScorer, questions: Sequence[Self]
    ) -> list[tuple[float, float]]:
        """Score all pairs.

        Raises:
          ConfigError: the model continues texts and masks no tokens.
        """
        if not isinstance(model, MaskedScorer):
            raise ConfigError(
                "this task masks tokens, which only encoders with a head for masked tokens can "
                "score; for a model that continues texts choose crows_pairs"
            )
        return model.score_shared([(q.first, q.second) for q in questions])


def shared_places(first: Sequence[int], second: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the places of the tokens that two texts share, in order, in each of them.

    Shared is what lies in the matching blocks of Python's `difflib.SequenceMatcher`.

    Args:
      first: tokens of a text.
      second: tokens of another text.

    Returns:
      Two lists of equal length.

    Example:
      >>> shared_places([2, 7, 5, 3], [2, 9, 8, 5, 3])
      ([0, 2, 3], [0, 3, 4])
    """
    matcher = difflib.SequenceMatcher(None, list(first), list(second))
    ours: list[int] = []
    theirs: list[int] = []
    for block in matcher.get_matching_blocks():
        ours += range(block.a, block.a + block.size)
        theirs += range(block.b, block.b + block.size)
    return ours, theirs


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MaskedModel:
    """An encoder with a head for masked tokens as a `MaskedScorer`.

    Attributes:
      model: a `MaskedLM`.
      params: its parameters.
      tokenizer: of transformers, with a mask token.
      name: what reports call the model.
      batch_size: number of masked copies that are read at once.

    Example:
      >>> from flax import linen as nn
      >>> from transformers import BertTokenizerFast
      >>> from jaxrec.models import ModelSpec
      >>> from jaxrec.testing import tiny_model
      >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "he", "she", "sings"]
      >>> tokenizer = BertTokenizerFast(vocab={word: n for n, word in enumerate(words)})
      >>> spec = ModelSpec("masked", tiny_model(len(words)))
      >>> params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), nn.meta.unbox(spec.shapes()))
      >>> scorer = MaskedModel(model=spec.build(), params=params, tokenizer=tokenizer, name="zeros")
      >>> [(she, he)] = scorer.score_shared([("she sings", "he sings")])
      >>> round(she, 4) == round(he, 4) == round(-math.log(8), 4)
      True
    """

    model: Any
    params: Any
    tokenizer: "PreTrainedTokenizerBase"
    name: str
    batch_size: int = 64

    @classmethod
    def of(cls, opened: Opened, name: str) -> "MaskedModel":
        """Return the scorer of an opened model.

        Raises:
          ConfigError: the model has no head for masked tokens, or no tokenizer with a mask token.
        """
        if opened.model.spec.kind != "masked":
            raise ConfigError(
                f"{name} is a model of the kind {opened.model.spec.kind}; tokens can be masked for "
                "an encoder with a head for masked tokens"
            )
        if opened.tokenizer is None or opened.tokenizer.mask_token_id is None:
            raise ConfigError(
                f"{name} has no tokenizer with a mask token; put its tokenizer beside the model"
            )
        return cls(
            model=opened.model.spec.build(),
            params=opened.model.params,
            tokenizer=opened.tokenizer,
            name=name,
        )

    @property
    def most_tokens(self) -> int | None:
        """Most tokens of a text; None if the model has no table of positions."""
        config = self.model.config
        learned = config.positions == "learned"
        return config.max_length - config.position_offset if learned else None

    def score_shared(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, float]]:
        """Sum the log-probabilities of the tokens that both texts of each pair share, in nats.

        The first and the last shared token, which begin and end every text, are not masked.

        Args:
          pairs: two texts each.

        Raises:
          ConfigError: a text is longer than the model's positions.
        """
        jobs: list[tuple[int, int, list[int], int]] = []  # pair, side, tokens, place
        for number, pair in enumerate(pairs):
            rows = [self._tokens(text) for text in pair]
            for side, places in enumerate(shared_places(*rows)):
                jobs += [(number, side, rows[side], place) for place in places[1:-1]]
        found: dict[tuple[int, int], list[float]] = {}
        order = sorted(range(len(jobs)), key=lambda job: len(jobs[job][2]))
        for first in range(0, len(order), self.batch_size):
            chosen = [jobs[job] for job in order[first : first + self.batch_size]]
            for job, value in zip(chosen, self._logprobs(chosen), strict=True):
                found.setdefault(job[:2], []).append(value)
        return [
            (math.fsum(found.get((number, 0), [])), math.fsum(found.get((number, 1), [])))
            for number in range(len(pairs))
        ]

    def _tokens(self, text: str) -> list[int]:
        tokens = list(self.tokenizer(text)["input_ids"])
        most = self.most_tokens
        if most is not None and len(tokens) > most:
            raise ConfigError(
                f"a text has {len(tokens)} tokens, but {self.name} reads {most}: {text[:60]!r}; "
                "leave the document out"
            )
        return tokens

    def _logprobs(self, jobs: Sequence[tuple[int, int, list[int], int]]) -> list[float]:
        """Log-probability of the token at each job's place, which is masked."""
        # Few shapes: lengths and rows are powers of two.
        width, height = bucket(max(len(job[2]) for job in jobs)), bucket(len(jobs), 1)
        width = min(width, self.most_tokens or width)
        tokens = np.zeros((height, width), np.int32)
        valid = np.zeros((height, width), bool)
        places, wanted = np.zeros(height, np.int32), np.zeros(height, np.int32)
        # Rows that fill up the batch need a valid token.
        valid[:, 0] = True
        for row, (_, _, ids, place) in enumerate(jobs):
            tokens[row, : len(ids)], valid[row, : len(ids)] = ids, True
            tokens[row, place] = self.tokenizer.mask_token_id
            places[row], wanted[row] = place, ids[place]
        values = _score(self.model, self.params, tokens, valid, places, wanted)
        return [float(value) for value in np.asarray(values)[: len(jobs)]]


@functools.partial(jax.jit, static_argnums=0)
def _score(
    model: Any,
    params: Any,
    tokens: jax.Array,
    valid: jax.Array,
    places: jax.Array,
    wanted: jax.Array,
) -> jax.Array:
    """Log-probability `[B]` of the wanted token at the place of each row."""
    logits = model.apply(params, tokens, valid)
    # [B, T, V] -> [B, V]
    chosen = jnp.take_along_axis(logits, places[:, None, None], axis=1)[:, 0]
    logs = jax.nn.log_softmax(chosen, axis=-1)
    return jnp.take_along_axis(logs, wanted[:, None], axis=1)[:, 0]
