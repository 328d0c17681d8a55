"""Objective and backbone of a run together: its module, its loss, and its batches."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxrec.core import ConfigError
from jaxrec.data import ReservedTokens, vocabulary_size, word_starts
from jaxrec.models import CausalLM, EncoderDecoder, MaskedPairLM, ModelSpec, TransformerConfig
from jaxrec.objectives import (
    Corruption,
    PairMasking,
    Pairs,
    Phrases,
    corrupted_batches,
    language_loss,
    masked_loss,
    pair_batches,
)
from jaxrec.systems.pretrain.config import PretrainConfig
from jaxrec.systems.pretrain.corpus import Encoded

Module = CausalLM | EncoderDecoder | MaskedPairLM


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Learning:
    """What a run learns, and by what.

    Attributes:
      config: of the run.
      tokenizer: of transformers.
      reserved: of the tokenizer.
      model: the module.
      phrases: of the corpus, of which only training and evaluation know.
    """

    config: PretrainConfig
    tokenizer: Any
    reserved: ReservedTokens
    model: Module
    phrases: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, config: PretrainConfig, tokenizer: Any, phrases: tuple[str, ...] = ()
    ) -> "Learning":
        """Build the module, and check that the tokenizer has what the objective needs.

        Raises:
          ConfigError: the tokenizer lacks reserved tokens, or an example does not fit.
        """
        needs = {need for denoiser in config.objective.denoisers for need in denoiser.needs}
        if config.objective.name == "mlm_nsp":
            needs = {"bos", "eos", "mask"}
        reserved = ReservedTokens.of(tokenizer, needs | {"eos"})
        if not len(reserved.ordinary):
            raise ConfigError("the tokenizer has reserved tokens only; give another one")
        shape = dataclasses.replace(config.model, vocab_size=vocabulary_size(tokenizer))
        learning = cls(
            config=config,
            tokenizer=tokenizer,
            reserved=reserved,
            model=_module(config, shape),
            phrases=phrases if config.objective.phrases else (),
        )
        # Both reject what does not fit.
        _ = learning.masking if learning.masked else learning.corruption
        return learning

    @property
    def masked(self) -> bool:
        """Whether masked tokens are predicted, and texts are not written."""
        return self.config.objective.name == "mlm_nsp"

    @functools.cached_property
    def corruption(self) -> Corruption:
        """How texts become examples; not of masked language modeling."""
        config = self.config
        assert config.backbone != "encoder"
        return Corruption(
            denoisers=config.objective.denoisers,
            backbone=config.backbone,
            length=config.length,
            reserved=self.reserved,
            per_row=config.per_row,
        )

    @functools.cached_property
    def masking(self) -> PairMasking:
        """How pairs are masked, in masked language modeling."""
        config = self.config
        starts = word_starts(self.tokenizer) if config.objective.whole_words else None
        return PairMasking(
            length=config.length,
            reserved=self.reserved,
            rate=config.objective.share,
            starts=starts,
            phrases=Phrases.encode(self.tokenizer, self.phrases) if self.phrases else None,
            salient=config.objective.salient if self.phrases else 0.0,
        )

    @property
    def loss(self) -> Any:
        """The loss, a function of the model's variables, a batch and a key."""
        return functools.partial(masked_loss if self.masked else language_loss, self.model)

    @property
    def spec(self) -> ModelSpec:
        """The model as other parts of the library and Hugging Face know it."""
        c = self.model.config
        if isinstance(self.model, MaskedPairLM):
            return ModelSpec("masked", dataclasses.replace(c, pooler=False))
        return ModelSpec(
            "encoder_decoder" if isinstance(self.model, EncoderDecoder) else "causal", c
        )

    def batches(self, encoded: Encoded, shard: tuple[int, int]) -> Any:
        """Return the endless batches of the training part.

        Raises:
          ConfigError, DataError: the part has too little text, or too few documents.
        """
        size, seed = self.config.train.batch_size, self.config.train.seed
        if self.masked:
            return pair_batches(self.pairs(encoded, seed), batch_size=size, shard=shard)
        return corrupted_batches(
            self.corruption, encoded.stream, batch_size=size, seed=seed, shard=shard
        )

    def pairs(self, encoded: Encoded, seed: int) -> Pairs:
        """Return the stream of pairs of a part."""
        following = self.config.objective.following
        return Pairs(self.masking, encoded.documents, seed=seed, following=following)

    def example(self) -> Mapping[str, np.ndarray]:
        """Return a batch of the shapes of training, of any tokens."""
        size = self.config.train.batch_size
        if self.masked:
            text = np.tile(self.reserved.ordinary[:1], 4 * self.config.length)
            pairs = Pairs(self.masking, [text, text], seed=0)
            return next(iter(pair_batches(pairs, batch_size=size)))
        text = np.tile(self.reserved.ordinary[:1], 2 * self.corruption.raw)
        return next(iter(corrupted_batches(self.corruption, text, batch_size=size, seed=0)))


def _module(config: PretrainConfig, shape: TransformerConfig) -> Module:
    if config.backbone == "encoder":
        return MaskedPairLM(shape)
    if config.backbone == "encoder_decoder":
        return EncoderDecoder(shape)
    return CausalLM(shape)
