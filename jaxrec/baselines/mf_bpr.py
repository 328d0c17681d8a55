"""Matrix factorization by Bayesian personalized ranking (Rendle et al., UAI 2009, arXiv:1205.2618).

Shapes: `B` batch, `U` users, `I` items, `D` factors, `n` negatives.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.baselines.pairwise import PairwiseConfig, table
from jaxrec.core import Count, NotNegative
from jaxrec.objectives import bpr
from jaxrec.train import TrainConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class BprConfig(PairwiseConfig):
    """Settings of BPR, in addition to those of all baselines over pairs.

    Attributes:
      width: D.
      regularization: λ, weight decay of the factors that an interaction reads.

    Example:
      >>> config = BprConfig(width=16, negatives=2)
      >>> config.build(num_users=10, num_items=20).width
      16
    """

    title: ClassVar[str] = "bpr"

    width: Count = 64
    regularization: NotNegative = 0.01
    train: TrainConfig = TrainConfig(batch_size=1024, lr=5e-3, weight_decay=0.0)

    def build(self, num_users: int, num_items: int) -> "Factors":
        """The two tables of factors."""
        return Factors(num_users, num_items, self.width)

    def loss(
        self, module: "Factors", user: jax.Array, item: jax.Array, negative: jax.Array
    ) -> jax.Array:
        """Σ_j -ln σ(x_ui - x_uj) + λ/2 |Θ|², Θ the factors and biases that an interaction reads."""
        positive, others = module(user, item[:, None])[:, 0], module(user, negative)
        items = jnp.concatenate([item[:, None], negative], axis=1)
        size = jnp.square(module.users[user]).sum(-1)
        size = size + jnp.square(module.items[items]).sum((1, 2))
        size = size + jnp.square(module.bias[items]).sum(1)
        return bpr(positive, others) + 0.5 * self.regularization * size


class Factors(nn.Module):
    """x_ui = b_i + w_u · h_i."""

    num_users: int
    num_items: int
    width: int

    def setup(self) -> None:
        """Create the tables."""
        self.users = table(self, "users", self.num_users, self.width, 0.1)
        self.items = table(self, "items", self.num_items, self.width, 0.1)
        zeros = nn.with_partitioning(nn.initializers.zeros_init(), ("vocab",))
        self.bias = self.param("bias", zeros, (self.num_items,), jnp.float32)

    def __call__(self, user: jax.Array, items: jax.Array) -> jax.Array:
        """Scores of some items for each user: `[B]` and `[B, n]` to `[B, n]`."""
        return jnp.einsum("bd,bnd->bn", self.users[user], self.items[items]) + self.bias[items]

    def every(self, user: jax.Array) -> jax.Array:
        """Scores of all items: `[B]` to `[B, I]`."""
        return self.users[user] @ self.items.T + self.bias[None]
