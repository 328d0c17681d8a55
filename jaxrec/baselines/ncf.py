"""NeuMF: a product of factors and a network over factors, side by side (He et al., WWW 2017).

arXiv:1708.05031. "gmf" is only the product (section 3.2), "mlp" is only the network (3.3), and
"neumf" is both, each with its own tables (3.4). `fuse` initializes "neumf" from trained "gmf" and
"mlp" models.

Shapes: `B` batch, `U` users, `I` items, `D` predictive factors, `n` items of a user.
"""

import dataclasses
import itertools
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.baselines.pairwise import PairwiseConfig, table
from jaxrec.core import ConfigError, Count
from jaxrec.nn import Einsum, fan_in_normal
from jaxrec.objectives import bce
from jaxrec.train import TrainConfig

Part = Literal["neumf", "gmf", "mlp"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class NeuMfConfig(PairwiseConfig):
    """Settings of NeuMF, in addition to those of all baselines over pairs.

    Attributes:
      part: the whole model, or one of its two parts.
      width: D, predictive factors of each part: the width of the product's tables and of the last
        layer of the network.
      layers: hidden layers of the network; each is half as wide as the one before it.

    Example:
      >>> config = NeuMfConfig(part="gmf", width=8)
      >>> config.build(num_users=10, num_items=20).part
      'gmf'
    """

    title: ClassVar[str] = "neumf"

    negatives: Count = 4
    part: Part = "neumf"
    width: Count = 16
    layers: Count = 3
    train: TrainConfig = TrainConfig(batch_size=1024, lr=1e-3, weight_decay=0.0)

    def build(self, num_users: int, num_items: int) -> "NeuMf":
        """The module."""
        return NeuMf(num_users, num_items, self.part, self.width, self.layers)

    def loss(
        self, module: "NeuMf", user: jax.Array, item: jax.Array, negative: jax.Array
    ) -> jax.Array:
        """Binary cross-entropy of an interaction and its negatives (equation 7)."""
        scores = module(user, jnp.concatenate([item[:, None], negative], axis=1))
        return bce(scores[:, 0], scores[:, 1:])


class NeuMf(nn.Module):
    """h · [p_u ⊙ q_i ; φ(W [p'_u ; q'_i])] + b (equation 12)."""

    num_users: int
    num_items: int
    part: Part
    width: int
    layers: int

    def setup(self) -> None:
        """Create the tables and layers of the selected parts."""
        users, items = self.num_users, self.num_items
        if self.part != "mlp":
            self.product_users = table(self, "product_users", users, self.width)
            self.product_items = table(self, "product_items", items, self.width)
            self.product_out = _layer(self.width, 1, bias=False)
        if self.part != "gmf":
            # The first layer reads the concatenated rows of both tables.
            widths = [self.width * 2 ** (self.layers - n) for n in range(self.layers + 1)]
            half = widths[0] // 2
            self.network_users = table(self, "network_users", users, half)
            self.network_items = table(self, "network_items", items, half)
            # W [p ; q] = W_p p + W_q q, so that the users' part is computed once for all items.
            self.first_user = _layer(half, widths[1])
            self.first_item = _layer(half, widths[1], bias=False)
            self.deeper = [_layer(wide, narrow) for wide, narrow in itertools.pairwise(widths[1:])]
            self.network_out = _layer(self.width, 1, bias=False)
        self.bias = self.param("bias", nn.initializers.zeros_init(), (1,), jnp.float32)

    def __call__(self, user: jax.Array, items: jax.Array) -> jax.Array:
        """Scores of some items for each user: `[B]` and `[B, n]` to `[B, n]`."""
        score = self.bias[None]
        if self.part != "mlp":
            product = self.product_users[user][:, None] * self.product_items[items]
            score = score + self.product_out(product)[:, :, 0]
        if self.part != "gmf":
            x = self.first_user(self.network_users[user][:, None])
            x = jax.nn.relu(x + self.first_item(self.network_items[items]))
            for layer in self.deeper:
                x = jax.nn.relu(layer(x))
            score = score + self.network_out(x)[:, :, 0]
        return score

    def every(self, user: jax.Array) -> jax.Array:
        """Scores of all items: `[B]` to `[B, I]`, one user at a time to save memory."""
        items = jnp.arange(self.num_items)[None]
        return jax.lax.map(lambda u: self(u[None], items)[0], user)


def _layer(wide: int, narrow: int, bias: bool = True) -> Einsum:
    init = fan_in_normal(wide)
    return Einsum("btd,df->btf", (wide, narrow), ("embed", "mlp"), int(bias), init)


def fuse(gmf: Any, mlp: Any, share: float = 0.5) -> dict[str, Any]:
    """Parameters of NeuMF from its two parts, trained separately (section 3.4.1, equation 13).

    Args:
      gmf: parameters of `part="gmf"`, the tree under "params" of its variables.
      mlp: parameters of `part="mlp"`, with the same `width`.
      share: α, weight of the product's output; the network's is 1 - α.

    Raises:
      ConfigError: the share lies outside [0, 1].
    """
    if not 0.0 <= share <= 1.0:
        raise ConfigError(f"share of the product's output must lie in [0, 1], got {share}")
    # The arrays are copied because training donates the arrays that it starts from.
    both = {name: jax.tree.map(jnp.copy, part[name]) for part in (gmf, mlp) for name in part}
    weights = {"product_out": share, "network_out": 1.0 - share}
    for name, weight in weights.items():
        both[name] = jax.tree.map(lambda x, w=weight: w * x, both[name])
    both["bias"] = share * gmf["bias"] + (1.0 - share) * mlp["bias"]
    return both
