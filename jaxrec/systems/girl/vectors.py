"""Vectors of resumes, jobs and generated descriptions, as predictors and grounding read them.

The encoder is the tuned generator, whose last states are averaged over the tokens of a text, a
sentence encoder, or a latent semantic analysis of the jobs. The numbers that a text names can
follow. Each kind of text is centered later, because resumes and jobs differ in wording more than in
what they are about; see `blocks`.

Shapes: `N` texts, `D` width of a vector.
"""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.pipeline import Pipeline, make_pipeline

from jaxrec.align import pad_rows
from jaxrec.core import DataError
from jaxrec.data.corpora import encode_documents
from jaxrec.models import CausalLM, SentenceEncoder, pool
from jaxrec.nn import SelfContext, attention_mask, positions_of
from jaxrec.systems.girl.blocks import NUMBER_BLOCKS, number_vectors
from jaxrec.systems.girl.data import GirlData
from jaxrec.systems.girl.grounding import word_counter
from jaxrec.systems.girl.models import Models


class Encoder(Protocol):
    """Maps N texts to `[N, D]` float32."""

    def encode(self, texts: Sequence[str], batch_size: int = 64) -> np.ndarray:
        """Encode texts."""
        ...


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class MeanStates:
    """The mean of a language model's last states over the tokens of a text.

    Attributes:
      model: the language model.
      params: its variables.
      tokenizer: of transformers.
      max_length: most tokens that are read of a text, the first ones.
    """

    model: CausalLM
    params: Any
    tokenizer: Any
    max_length: int

    def encode(self, texts: Sequence[str], batch_size: int = 64) -> np.ndarray:
        """Encode texts as `[N, D]`; rows are padded to one length, which compiles once."""
        # A text without a token has the states of the token that ends texts.
        rows = [
            np.array(row[: self.max_length] or [self.tokenizer.eos_token_id], np.int32)
            for row in encode_documents(self.tokenizer, texts)
        ]
        tokens, valid = pad_rows(rows, self.max_length)
        parts = []
        for first in range(0, len(tokens), batch_size):
            chosen = np.arange(first, first + batch_size)
            chosen[chosen >= len(tokens)] = 0
            parts.append(_mean_states(self.model, self.params, tokens[chosen], valid[chosen]))
        return np.concatenate([np.asarray(part) for part in parts])[: len(tokens)]


@functools.partial(jax.jit, static_argnums=0)
def _mean_states(model: CausalLM, params: Any, tokens: jax.Array, valid: jax.Array) -> jax.Array:
    context = SelfContext(attention_mask(valid), causal=True)

    def run(module: CausalLM) -> jax.Array:
        return module.hidden(tokens, positions_of(valid), context)[0]

    states = model.apply(params, method=run)
    return pool(states.astype(jnp.float32), valid, "mean")


@dataclasses.dataclass(frozen=True, eq=False)
class LatentSemantics:
    """Latent semantic analysis: a truncated SVD of the TF-IDF vectors of texts.

    (Deerwester et al., Journal of the American Society for Information Science 41(6), 1990; fitted
    by scikit-learn.)

    Attributes:
      steps: the fitted pipeline.
    """

    steps: Pipeline

    @classmethod
    def fit(cls, texts: Sequence[str], width: int) -> "LatentSemantics":
        """Fit it.

        Args:
          texts: at least one.
          width: D.

        Raises:
          DataError: there are fewer texts, or fewer different words in them, than D.

        Example:
          >>> texts = ["bakes bread", "bakes cakes", "cares for patients"]
          >>> LatentSemantics.fit(texts, 2).encode(["bread and cakes"]).shape
          (1, 2)
        """
        steps = make_pipeline(word_counter(), TruncatedSVD(width, random_state=0))
        words = len(steps[0].fit(texts).vocabulary_)
        if min(words, len(texts)) < width:
            raise DataError(
                f"--match.lsa {width} needs as many texts and as many different words, and the "
                f"{len(texts)} jobs have {words} words; lower it"
            )
        return cls(steps.fit(texts))

    def encode(self, texts: Sequence[str], batch_size: int = 64) -> np.ndarray:
        """Encode texts as `[N, D]` float32, all at once."""
        del batch_size  # the products are sparse and small
        return np.asarray(self.steps.transform(texts), np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class WithNumbers:
    """Vectors of an encoder, followed by the years and the salary that a text names.

    Attributes:
      words: the encoder.
    """

    words: Encoder

    def encode(self, texts: Sequence[str], batch_size: int = 64) -> np.ndarray:
        """Encode texts as `[N, D]` float32; see `blocks` for the last numbers."""
        return np.concatenate([self.words.encode(texts, batch_size), number_vectors(texts)], axis=1)


def blocks_of(encoder: Encoder, width: int) -> tuple[int, ...]:
    """The widths of the blocks of an encoder's vectors of a given width."""
    if isinstance(encoder, WithNumbers):
        return (width - sum(NUMBER_BLOCKS), *NUMBER_BLOCKS)
    return (width,)


def open_encoder(models: Models, data: GirlData) -> Encoder:
    """Open the encoder of a run; a latent semantic analysis is fitted to all jobs of the data.

    Raises:
      DataError: the sentence encoder or the tuned generator cannot be read.
      ConfigError: a sentence encoder of a kind that is not supported.
    """
    words = _open_words(models, data)
    return WithNumbers(words) if models.config.match.numbers else words


def _open_words(models: Models, data: GirlData) -> Encoder:
    if models.config.match.lsa:
        return LatentSemantics.fit(data.jobs, models.config.match.lsa)
    if models.config.match.encoder:
        return SentenceEncoder.load(Path(models.config.match.encoder))
    return MeanStates(
        model=models.text.model,
        params=models.text.variables(models.generator()),
        tokenizer=models.text.tokenizer,
        max_length=models.config.max_prompt,
    )
