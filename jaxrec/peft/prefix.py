"""Prefix tuning: keys and values of virtual tokens in every layer (Li and Liang 2021).

They are trained through a small network, because training the table itself is unstable
(section 4.3)::

    E [P, D]  ->  tanh(E W1 + b1)  ->  ( . ) W2 + b2  ->  [P, layers, key and value, G, H]

After training only the table is kept.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.traverse_util import unflatten_dict

from jaxrec.core import ConfigError
from jaxrec.nn import KernelSpec, kernel_specs
from jaxrec.peft.names import key_of

Table = tuple[jax.Array, jax.Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class PrefixNetwork:
    """The network that computes the prefix of a stack of layers during training.

    Attributes:
      embedding: `[P, D]`.
      hidden, hidden_bias: `[D, E]` and `[E]`.
      out, out_bias: `[E, layers * 2 * G * H]` and `[layers * 2 * G * H]`.
      shape: layers, G and H.
    """

    embedding: jax.Array
    hidden: jax.Array
    hidden_bias: jax.Array
    out: jax.Array
    out_bias: jax.Array
    shape: tuple[int, int, int] = dataclasses.field(metadata={"static": True})

    def table(self) -> Table:
        """Compute the keys and values, each `[layers, P, G, H]`."""
        layers, heads, size = self.shape
        states = jnp.tanh(self.embedding @ self.hidden + self.hidden_bias[None])
        rows = states @ self.out + self.out_bias[None]
        # [P, layers 2 G H] -> [2, layers, P, G, H]
        both = jnp.einsum("plkgh->klpgh", rows.reshape(-1, layers, 2, heads, size))
        return both[0], both[1]


def attentions(boxed: Any, encoder: bool = False) -> dict[str, KernelSpec]:
    """List the prefixes of a model: their paths, each with the key kernel `[D, G, H]` of its stack.

    Args:
      boxed: variables or shapes of the model with their boxes on.
      encoder: give the encoder of an encoder-decoder a prefix too; by default only the decoder has
        one.

    Raises:
      ConfigError: `encoder` is set for a model with a single stack, or blocks are HSTU's.
    """
    found = {
        f"{path.removesuffix('key')}prefix": spec
        for path, spec in kernel_specs(boxed).items()
        if path.endswith("blocks/attention/key")
    }
    if not found:
        raise ConfigError(
            "tune.method prefix replaces keys and values of attention with a softmax, and this "
            "model has none (its model.block is hstu); use tune.method prompt, adapter, lora or "
            "full"
        )
    if encoder and len(found) == 1:
        raise ConfigError(
            "tune.prefix_encoder is for models with an encoder and a decoder, but this model has "
            f"only {next(iter(found)).split('/blocks/')[0]}; set it to false"
        )
    if len(found) == 1 or encoder:
        return found
    return {path: spec for path, spec in found.items() if path.startswith("decoder/")}


def init(
    key: jax.Array, boxed: Any, count: int, hidden: int = 512, encoder: bool = False
) -> dict[str, Any]:
    """Create prefixes, which change the outputs of the model from the start.

    Initial values follow PEFT: embeddings are standard normal, weights are uniform in
    +-1/sqrt(inputs).

    Args:
      key: random key.
      boxed: variables or shapes of the model with their boxes on.
      count: P, number of virtual tokens.
      hidden: E, hidden width of the network; 0 trains the keys and values themselves, which start
        standard normal.
      encoder: whether the encoder gets a prefix too, see `attentions`.

    Returns:
      The `TUNED` tree, float32 and boxed. Each node is a `PrefixNetwork`, or a table if `hidden` is
      0.
    """
    made: dict[str, Any] = {}
    for path, spec in attentions(boxed, encoder).items():
        own = key_of(key, path)
        width, heads, size = spec.shape
        layers = spec.layers or 1
        if not hidden:
            shape, axes = (layers, count, heads, size), ("layers", None, "kv_heads", "head_size")
            keys = jax.random.split(own)
            made[path] = tuple(nn.Partitioned(jax.random.normal(k, shape), axes) for k in keys)
            continue
        keys = jax.random.split(own, 5)
        outer = layers * 2 * heads * size
        made[path] = PrefixNetwork(
            embedding=nn.Partitioned(jax.random.normal(keys[0], (count, width)), (None, "embed")),
            hidden=nn.Partitioned(_uniform(keys[1], (width, hidden), width), ("embed", None)),
            hidden_bias=nn.Partitioned(_uniform(keys[2], (hidden,), width), (None,)),
            out=nn.Partitioned(_uniform(keys[3], (hidden, outer), hidden), (None, None)),
            out_bias=nn.Partitioned(_uniform(keys[4], (outer,), hidden), (None,)),
            shape=(layers, heads, size),
        )
    return unflatten_dict(made, sep="/")


def _uniform(key: jax.Array, shape: tuple[int, ...], inputs: int) -> jax.Array:
    bound = inputs**-0.5
    return jax.random.uniform(key, shape, minval=-bound, maxval=bound)
