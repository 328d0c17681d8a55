"""One small model of every kind, with a batch, shared by the tests of tuning."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxrec.models import ModelSpec, TransformerConfig
from jaxrec.peft import TuneConfig, Tuning, prepend, start, variables, virtual_of

VOCAB, BATCH, READ, WRITTEN = 20, 4, 6, 4
_SHAPE = TransformerConfig(
    vocab_size=VOCAB, width=16, depth=5, num_heads=2, mlp_width=32, max_length=32, qkv_bias=True
)
_GPT2 = dataclasses.replace(
    _SHAPE,
    depth=2,
    norm="layer",
    positions="learned",
    activation="gelu_tanh",
    gated=False,
    out_bias=True,
    mlp_bias=True,
    tie_embeddings=False,
)
_T5 = dataclasses.replace(
    _SHAPE, depth=2, encoder_depth=5, positions="relative", relative_buckets=8, out_bias=True
)
_BERT = dataclasses.replace(
    _GPT2, depth=5, norm_order="post", activation="gelu", token_types=2, tie_embeddings=True
)
# Stacks of up to four blocks are unrolled and deeper ones are scanned; both occur here.
SPECS = {
    "gpt2": ModelSpec("causal", _GPT2),
    "llama": ModelSpec("causal", dataclasses.replace(_SHAPE, num_kv_heads=1, embedding_scale=2.0)),
    "prefix": ModelSpec("causal", dataclasses.replace(_SHAPE, depth=2)),
    "encoder-decoder": ModelSpec("encoder_decoder", _T5),
    "encoder": ModelSpec("masked", _BERT),
}
METHODS = {
    "lora": TuneConfig(method="lora", rank=3, targets=("all",)),
    "adapter": TuneConfig(method="adapter", bottleneck=4),
    "prefix": TuneConfig(method="prefix", virtual_tokens=3, prefix_hidden=8),
    "prompt": TuneConfig(method="prompt", virtual_tokens=3, prompt_init="random"),
}


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TunedCase:
    """A model with random parameters and a batch padded on the left.

    Attributes:
      name: a name in `SPECS`.
      spec: the model.
      params: `{"params": ...}`.
      tokens, valid: `[B, T]`, the input.
      targets: `[B, W]` int32, the decoder's tokens in an encoder-decoder.
      seen: number of columns that the prefix decoder reads in both directions.
    """

    name: str
    spec: ModelSpec
    params: Any
    tokens: jax.Array
    valid: jax.Array
    targets: jax.Array
    seen: int = READ - 2

    @property
    def model(self) -> Any:
        """The Flax module."""
        return self.spec.build()

    @property
    def prefix(self) -> jax.Array | None:
        """The tokens that a prefix decoder reads in both directions; None for other models."""
        if self.name != "prefix":
            return None
        return self.valid & (jnp.arange(self.tokens.shape[1])[None] < self.seen)

    @property
    def counted(self) -> np.ndarray:
        """Which outputs are not padding: `[B, T or W]` bool."""
        if self.spec.kind == "encoder_decoder":
            return np.ones((BATCH, WRITTEN), bool)
        return np.asarray(self.valid)

    def after(self, text: list[int]) -> "TunedCase":
        """Return the case with a text of ordinary tokens in front of every row."""
        rows = [
            np.insert(row, int(np.flatnonzero(there)[0]), text)
            for row, there in zip(np.asarray(self.tokens), np.asarray(self.valid), strict=True)
        ]
        free = np.ones((len(rows), len(text)), bool)
        # Padding is on the left, so sorting keeps it there.
        valid = np.sort(np.concatenate([self.valid, free], axis=1), axis=1)
        tokens = jnp.asarray(np.stack(rows), jnp.int32)
        seen = self.seen + len(text)
        return dataclasses.replace(self, tokens=tokens, valid=jnp.asarray(valid), seen=seen)

    def tuning(self, config: TuneConfig, noise: float = 0.0) -> tuple[Any, Any]:
        """Return the trainable tree, with noise, and the frozen tree, both without boxes."""
        tuning: Tuning = start(jax.random.key(1), self.spec.shapes(), self.params, config)
        return shaken(nn.meta.unbox(tuning.trainable), noise), tuning.frozen

    def variables(self, config: TuneConfig, noise: float = 0.0) -> Any:
        """Return the variables of the tuned model."""
        return variables(*self.tuning(config, noise))

    def logits(self, params: Any) -> jax.Array:
        """Compute the outputs `[B, T or W, V]`, without those of virtual tokens."""
        virtual = virtual_of(params)
        read = prepend(self.tokens, self.valid, VOCAB, virtual.read)
        if self.spec.kind == "encoder_decoder":
            there = jnp.ones(self.targets.shape, bool)
            wrote = prepend(self.targets, there, VOCAB, virtual.written)
            found = self.model.apply(params, read.tokens, read.valid, wrote.tokens, wrote.valid)
            return wrote.drop(found)
        options = {} if self.prefix is None else {"prefix": read.widen(self.prefix)}
        return read.drop(self.model.apply(params, read.tokens, read.valid, **options))

    def outputs(self, params: Any) -> np.ndarray:
        """Compute the outputs of tokens that are not padding: `[outputs, V]`."""
        return self.logits_of(params)[self.counted]

    def logits_of(self, params: Any) -> np.ndarray:
        """Compute `logits` in a jitted program."""
        return np.asarray(self._jitted(params))

    @functools.cached_property
    def _jitted(self) -> Any:
        # Each program runs once, so fast compilation matters more than fast execution.
        return jax.jit(self.logits, compiler_options={"xla_backend_optimization_level": 0})


def tuned_case(name: str, **flavour: Any) -> TunedCase:
    """Return a case of `SPECS`, with changes to its config."""
    spec = SPECS[name]
    spec = dataclasses.replace(spec, config=dataclasses.replace(spec.config, **flavour))
    rng = np.random.default_rng(0)
    shapes = nn.meta.unbox(spec.shapes())
    params = jax.tree.map(lambda s: jnp.asarray(0.3 * rng.normal(size=s.shape), s.dtype), shapes)
    tokens = jnp.asarray(rng.integers(1, VOCAB, (BATCH, READ)), jnp.int32)
    valid = jnp.arange(READ)[None] >= jnp.array([0, 2, 3, 1])[:, None]
    targets = jnp.asarray(rng.integers(0, VOCAB, (BATCH, WRITTEN)), jnp.int32)
    return TunedCase(
        name=name,
        spec=spec,
        params=params,
        tokens=jnp.where(valid, tokens, 0),
        valid=valid,
        targets=targets,
    )


def shaken(tree: Any, noise: float, seed: int = 2) -> Any:
    """Add normal noise to every leaf; values that start at zero would hide missing terms."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda x: x + jnp.asarray(noise * rng.normal(size=x.shape), x.dtype) if noise else x, tree
    )
