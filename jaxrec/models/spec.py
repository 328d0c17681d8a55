"""The description of a model, its kind and config, from which module and shapes follow."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict

from jaxrec.core import ConfigError, DataError
from jaxrec.models.causal import CausalLM
from jaxrec.models.config import TransformerConfig
from jaxrec.models.encoder import Encoder
from jaxrec.models.encoder_decoder import EncoderDecoder
from jaxrec.models.heads import Classifier, MaskedLM

Kind = Literal[
    "causal", "encoder", "encoder_decoder", "masked", "causal_classifier", "encoder_classifier"
]


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """A model without its parameters.

    Attributes:
      kind: architecture and head.
      config: shape and flavour.
      classes: C, number of classes of a classifier; 0 for other kinds.

    Raises:
      ConfigError: a classifier has no classes.

    Example:
      >>> spec = ModelSpec("causal", TransformerConfig(vocab_size=8, width=4, depth=3))
      >>> spec.flat_shapes()["embedding/table"]
      (8, 4)
      >>> spec.flat_shapes()["decoder/blocks/mlp/up/kernel"]  # [depth, D, F]
      (3, 4, 16)
    """

    kind: Kind
    config: TransformerConfig
    classes: int = 0

    def __post_init__(self) -> None:
        """Reject a classifier without classes."""
        if self.kind.endswith("classifier") and self.classes < 1:
            raise ConfigError(f"a {self.kind} needs classes of at least 1, got {self.classes}")

    def build(self) -> Any:
        """Return the Flax module."""
        c = self.config
        if self.kind == "causal":
            return CausalLM(c)
        if self.kind == "encoder":
            return Encoder(c)
        if self.kind == "encoder_decoder":
            return EncoderDecoder(c)
        if self.kind == "masked":
            return MaskedLM(c)
        if self.kind == "causal_classifier":
            return Classifier(CausalLM(c), self.classes, "last")
        return Classifier(Encoder(c), self.classes, "first", dense=True, bias=True)

    @property
    def shares_table(self) -> bool:
        """Whether one table serves as both embedding and head."""
        if self.kind == "masked":
            return True
        return self.kind in ("causal", "encoder_decoder") and self.config.tie_embeddings

    def shapes(self) -> Any:
        """Return the shapes of the parameters, boxed with their axis names; allocates nothing."""
        # A copy of the dicts, for the caller to keep: the leaves cannot change.
        return jax.tree.map(lambda leaf: leaf, _shapes(self))

    def flat_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every leaf by its path, which omits the leading "params"."""
        tree = nn.meta.unbox(self.shapes())["params"]
        return {path: leaf.shape for path, leaf in flatten_dict(tree, sep="/").items()}


@functools.lru_cache(maxsize=64)
def _shapes(spec: ModelSpec) -> Any:
    """Trace the module's `init` once a spec: that takes a second for some, and each step asks."""
    tokens = jnp.zeros((1, 2), jnp.int32)
    inputs = [tokens, tokens == 0]
    if spec.kind == "encoder_decoder":
        inputs = [*inputs, *inputs]
    variables = jax.eval_shape(spec.build().init, jax.random.key(0), *inputs)
    return {"params": variables["params"]}


def check_finite(values: np.ndarray, what: str) -> None:
    """Reject an array of floats with an infinity or a NaN.

    Args:
      values: floats of any precision, or whole numbers, which pass.
      what: begins the error message.

    Raises:
      DataError: a value is not finite.
    """
    if not values.size or not jnp.issubdtype(values.dtype, jnp.floating):
        return
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float32)
    # Both propagate NaN, and neither allocates.
    if not (np.isfinite(values.min()) and np.isfinite(values.max())):
        raise DataError(f"{what} holds infinities or NaN; copy the file again, or train again")


def init_function(model: CausalLM | EncoderDecoder) -> Callable[[jax.Array], Any]:
    """Return the function that maps a random key to a model's variables, with axis names."""
    example = jnp.zeros((1, 2), jnp.int32)
    inputs = (example, example == 0) * (2 if isinstance(model, EncoderDecoder) else 1)
    return lambda key: model.init(key, *inputs)
