"""Adapters: bottleneck networks on the outputs of sub-layers (Houlsby et al. 2019).

    h  ->  h + gelu(h W1 + b1) W2 + b2        W1 [D, M], W2 [M, D]

is applied after the sub-layer's output and dropout, before the residual sum. Norms and the head of
the task are trained too (section 2.1). A decoder with cross-attention has a third sub-layer and
therefore a third adapter per block.
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

# The last kernel of each sub-layer, which maps to D, by the name of the sub-layer.
_LAST = {"attention": "attention/out", "cross": "cross/out", "mlp": "mlp/down"}
# Standard deviation of the initial weights, from the published code (adapter-bert).
STDDEV = 1e-3


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Adapter:
    """The adapter of one sub-layer, or of a stack of them: a `Bottleneck`.

    Attributes:
      down, down_bias: W1 and b1, `[..., D, M]` and `[..., M]`.
      up, up_bias: W2 and b2, `[..., M, D]` and `[..., D]`.
    """

    down: jax.Array
    down_bias: jax.Array
    up: jax.Array
    up_bias: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map `[B, T, D]` to the same shape."""
        down, down_bias, up, up_bias = (
            a.astype(x.dtype) for a in (self.down, self.down_bias, self.up, self.up_bias)
        )
        rows = x.reshape(-1, x.shape[-1])
        hidden = jax.nn.gelu(rows @ down + down_bias[None], approximate=True)
        return x + (hidden @ up + up_bias[None]).reshape(x.shape)


def sub_layers(boxed: Any, placement: str = "houlsby") -> dict[str, KernelSpec]:
    """List the adapters of a model: their paths, each with the last kernel of its sub-layer.

    Args:
      boxed: variables or shapes of the model with their boxes on.
      placement: "houlsby" for an adapter after every sub-layer, "pfeiffer" for one after the MLP
        only (Pfeiffer et al. 2021).

    Raises:
      ConfigError: the blocks have no MLP for "pfeiffer".
    """
    specs = kernel_specs(boxed)
    names = ("mlp",) if placement == "pfeiffer" else tuple(_LAST)
    found = {}
    for path, spec in specs.items():
        for name in names:
            if path.endswith(f"blocks/{_LAST[name]}"):
                found[f"{path.removesuffix(_LAST[name])}{name}_adapter"] = spec
    if not found:
        raise ConfigError(
            f"tune.placement {placement} puts adapters after MLPs, and the blocks of this model "
            "have none (its model.block is hstu); use tune.placement houlsby"
        )
    return found


def init(
    key: jax.Array, boxed: Any, bottleneck: int = 64, placement: str = "houlsby"
) -> dict[str, Any]:
    """Create adapters that start close to the identity: weights near 1e-3, biases of zero.

    Args:
      key: random key.
      boxed: variables or shapes of the model with their boxes on.
      bottleneck: M, hidden width of an adapter.
      placement: where adapters go, see `sub_layers`.

    Returns:
      The `TUNED` tree; its arrays are float32 and boxed with their axis names.
    """
    normal = nn.initializers.truncated_normal(STDDEV)
    made = {}
    for path, spec in sub_layers(boxed, placement).items():
        down, up = jax.random.split(key_of(key, path))
        width, stack = spec.shape[-1], spec.stack
        axes: tuple[str, ...] = ("layers",) * len(stack)
        made[path] = Adapter(
            down=nn.Partitioned(normal(down, (*stack, width, bottleneck)), (*axes, "embed", None)),
            down_bias=nn.Partitioned(jnp.zeros((*stack, bottleneck)), (*axes, None)),
            up=nn.Partitioned(normal(up, (*stack, bottleneck, width)), (*axes, None, "embed")),
            up_bias=nn.Partitioned(jnp.zeros((*stack, width)), (*axes, "embed")),
        )
    return unflatten_dict(made, sep="/")


def trained_besides(paths: Any) -> set[str]:
    """Return those paths of a model's parameters that belong to norms and to the head."""
    bodies = ("embedding", "encoder", "decoder", "backbone", "pooler")
    return {
        path
        for path in paths
        if path.split("/")[0] not in bodies or path.split("/")[-2].endswith("norm")
    }
