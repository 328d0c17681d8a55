"""The tagger: upper layers of an encoder, a linear head for each kind, and a CRF for each kind.

Shapes: `B` rows, `T` tokens, `W` words, `D` width, `K` kinds, `C` tags.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.models import Pretrained, TransformerConfig, UpperLayers, cut_encoder
from jaxrec.nn import Dropout, Einsum, fan_in_normal
from jaxrec.objectives import (
    Crf,
    Loss,
    constrain_crf,
    crf_log_marginals,
    entity_ratio_loss,
    init_crf,
    partial_crf_loss,
    soft_label_loss,
    supervised_contrast,
    viterbi,
)
from jaxrec.systems.skills.config import SkillLossConfig, SkillsConfig
from jaxrec.systems.skills.data import TAGS


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Scores:
    """What the tagger says about a batch.

    Attributes:
      vectors: `[B, W, D]` states of the words.
      emissions: `[K, B, W, C]` scores of the tags of each kind.
      crf: of each kind, with a leading axis K.
    """

    vectors: jax.Array
    emissions: jax.Array
    crf: Crf


class Tagger(nn.Module):
    """States of tokens to scores of the tags of words.

    Attributes:
      config: of the upper layers.
      kinds: K.
      crf: whether transitions are scored; without, all sequences are legal and only words count.
      dropout: rate before the head.
      gain: factor of the head's and the CRF's parameters.
    """

    config: TransformerConfig
    kinds: int
    crf: bool = True
    dropout: float = 0.0
    gain: float = 1.0

    def setup(self) -> None:
        """Create the layers."""
        width, tags = self.config.width, self.kinds * len(TAGS)
        self.upper = UpperLayers(self.config)
        init = fan_in_normal(width, 1 / self.gain**2)
        self.out = Einsum("md,dc->mc", (width, tags), ("embed", "classes"), 1, init)
        self.drop = Dropout(self.dropout)
        if self.crf:
            names = [field.name for field in dataclasses.fields(Crf)]
            self.scores = {name: self.param(name, self._init(name)) for name in names}

    def _init(self, name: str) -> Callable[[jax.Array], Any]:
        def init(key: jax.Array) -> jax.Array:
            keys = jax.random.split(key, self.kinds)
            drawn = [getattr(init_crf(k, len(TAGS)), name) for k in keys]
            return jnp.stack(drawn) / jnp.float32(self.gain)

        return init

    def __call__(
        self,
        states: jax.Array,
        valid: jax.Array,
        first: jax.Array,
        deterministic: bool = True,
    ) -> Scores:
        """Score the tags of words.

        Args:
          states: `[B, T, D]` after the lower layers.
          valid: `[B, T]` bool, False for padding.
          first: `[B, W]` int32, place of the first token of each word.
          deterministic: False to apply dropout (needs a "dropout" key).
        """
        top = self.upper(states, valid, deterministic)
        # [B, T, D] -> [B, W, D]
        vectors = jnp.take_along_axis(top, first[:, :, None], axis=1).astype(jnp.float32)
        matrix = self.drop(vectors, deterministic).reshape(-1, vectors.shape[2])
        flat = jnp.float32(self.gain) * self.out(matrix)
        # [B W, K C] -> [K, B, W, C]
        shape = (*vectors.shape[:2], self.kinds, len(TAGS))
        emissions = jnp.moveaxis(flat.reshape(shape), 2, 0)
        return Scores(vectors, emissions, self._chain())

    def _chain(self) -> Crf:
        if not self.crf:
            count, tags = self.kinds, len(TAGS)
            ends = jnp.zeros((count, tags))
            return Crf(jnp.zeros((count, tags, tags)), ends, ends)
        free = Crf(**{name: jnp.float32(self.gain) * x for name, x in self.scores.items()})
        legal = [jnp.asarray(part) for part in TAGS.legal]
        return jax.vmap(lambda crf: constrain_crf(crf, *legal))(free)


def make_tagger(config: SkillsConfig, model: Pretrained) -> tuple[Tagger, Any]:
    """Return the module of a run, and the parameters of the encoder's upper layers.

    Raises:
      ConfigError: the encoder has too few layers.
    """
    upper, params = cut_encoder(model, config.tagger.layers)
    tagger = Tagger(
        upper,
        len(config.data.kinds),
        crf=config.tagger.crf,
        dropout=config.tagger.dropout,
        gain=config.tagger.gain,
    )
    return tagger, params


def init_tagger(tagger: Tagger, key: jax.Array) -> Any:
    """Random variables of a tagger, with axis names."""
    states = jnp.zeros((1, 2, tagger.config.width))
    ones = jnp.ones((1, 2), bool)
    return tagger.init(key, states, ones, jnp.zeros((1, 2), jnp.int32))


def begin(tagger: Tagger, upper: Any, seed: int) -> Any:
    """The variables that training begins with: the encoder's layers under a random head."""
    drawn = nn.meta.unbox(jax.jit(lambda key: init_tagger(tagger, key))(jax.random.key(seed)))
    copied = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), upper)
    return {"params": drawn["params"] | {"upper": copied}}


def score(tagger: Tagger, variables: Any, batch: Mapping[str, Any], key: Any = None) -> Scores:
    """The scores of a batch of `Rows`; dropout is applied if there is a key."""
    rngs = None if key is None else {"dropout": key}
    inputs = (batch["states"], batch["valid"], batch["first"])
    return tagger.apply(variables, *inputs, key is None, rngs=rngs)


def predict(tagger: Tagger, variables: Any, batch: Mapping[str, Any]) -> jax.Array:
    """The most probable tags of each kind, `[B, W, K]` int32; -1 where there is no word."""
    found = score(tagger, variables, batch)
    present = jnp.asarray(batch["present"])
    tags = jax.vmap(viterbi, in_axes=(0, 0, None))(found.crf, found.emissions, present)[0]
    return jnp.moveaxis(tags, 0, 2)


def log_marginals(tagger: Tagger, variables: Any, batch: Mapping[str, Any]) -> jax.Array:
    """Ln P of every tag of every word, `[B, W, K, C]` float32."""
    found = score(tagger, variables, batch)
    present = jnp.asarray(batch["present"])
    logs = jax.vmap(crf_log_marginals, in_axes=(0, 0, None))(found.crf, found.emissions, present)
    # [K, B, W, C] -> [B, W, K, C]
    return jnp.moveaxis(logs, 0, 2)


def make_loss(tagger: Tagger, config: SkillLossConfig, soft: float = 0.0) -> Any:
    """Return the loss of a training: a function of variables, a batch and a dropout key.

    The batch has `allowed` `[B, W, K, C]` bool, the tags that each word may have. If `soft` is
    above 0, it also has `soft` `[B, W, K, C]`, labels of a teacher, and `sure` `[B, W, K]` bool.

    Args:
      tagger: the module.
      config: terms and their weights.
      soft: weight of the soft labels.
    """
    shares = config.shares * (tagger.kinds if len(config.shares) == 1 else 1)

    def loss(variables: Any, batch: Mapping[str, jax.Array], key: jax.Array | None) -> Loss:
        found = score(tagger, variables, batch, key)
        present = batch["present"]
        words = present.sum(dtype=jnp.float32)
        allowed = jnp.moveaxis(batch["allowed"], 2, 0)
        # [K, B]
        losses = jax.vmap(partial_crf_loss, in_axes=(0, 0, 0, None))(
            found.crf, found.emissions, allowed, present
        )
        total = losses.sum()
        parts = {"labels": total}
        if config.ratio or soft:
            logs = jax.vmap(crf_log_marginals, in_axes=(0, 0, None))(
                found.crf, found.emissions, present
            )
        if config.ratio:
            chances = jnp.where(present[None, :, :, None], jnp.exp(logs), 0.0)
            excess = sum(
                entity_ratio_loss(chances[k], present, ratio=share, margin=config.margin)
                for k, share in enumerate(shares)
            )
            parts["ratio"] = words * excess
            total = total + jnp.float32(config.ratio) * parts["ratio"]
        if config.contrast:
            parts["contrast"] = words * _contrast(found.vectors, allowed, present, config, key)
            total = total + jnp.float32(config.contrast) * parts["contrast"]
        if soft:
            labels, sure = (jnp.moveaxis(batch[name], 2, 0) for name in ("soft", "sure"))
            parts["soft"] = jax.vmap(soft_label_loss)(logs, labels, sure).sum()
            total = total + jnp.float32(soft) * parts["soft"]
        return Loss(total, words, parts)

    return loss


def _contrast(
    vectors: jax.Array,
    allowed: jax.Array,
    present: jax.Array,
    config: SkillLossConfig,
    key: jax.Array | None,
) -> jax.Array:
    """The mean contrast of words inside spans of any kind with words outside, known ones alone.

    A batch with more words than the limit draws some; without a key, the first ones count.
    """
    inside = (~allowed[..., 0]).any(axis=0)
    # A word is outside if no kind allows another tag, and unknown if it may be either.
    known = present & (inside | ~allowed[..., 1:].any(axis=(0, 3)))
    flat = known.reshape(-1)
    draws = jnp.zeros(flat.shape) if key is None else jax.random.uniform(key, flat.shape)
    count = min(config.contrast_words, flat.shape[0])
    chosen = jax.lax.top_k(jnp.where(flat, draws, -1.0), count)[1]
    counts = flat[chosen]
    losses = supervised_contrast(
        vectors.reshape(-1, vectors.shape[-1])[chosen],
        inside.reshape(-1)[chosen].astype(jnp.int32),
        counts,
        config.temperature,
    )
    return losses.sum() / jnp.maximum(counts.sum(), 1).astype(jnp.float32)
