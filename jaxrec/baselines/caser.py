"""Caser: convolutions over the last L item vectors, read as an image (Tang and Wang, WSDM 2018).

A horizontal filter spans h items and all of their dimensions, and only its strongest response over
time counts. A vertical filter is a weighted sum of the L vectors. The paper's user vector is left
out, as in the published code of DROS, so that users who were not trained can be served too.

Shapes: `B` batch, `T` tokens, `D` model width, `L` items of the image, `h` height of a filter.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.baselines.sequential_config import SequentialConfig
from jaxrec.core import ConfigError, Count
from jaxrec.nn import Dropout, Einsum, fan_in_normal


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaserConfig(SequentialConfig):
    """Settings of Caser, in addition to those of all sequential baselines.

    Attributes:
      image: L, the number of items that a prediction reads.
      heights: h of the horizontal filters, each at most L.
      horizontal: number of horizontal filters of each height.
      vertical: number of vertical filters.

    Example:
      >>> config = CaserConfig(image=5, heights=(2, 3), horizontal=8)
      >>> config.horizontal * len(config.heights)  # all horizontal filters
      16
    """

    title: ClassVar[str] = "caser"
    item_bias: ClassVar[bool] = True

    tied: bool = False
    image: Count = 10
    heights: tuple[Count, ...] = (2, 3, 4)
    horizontal: Count = 16
    vertical: Count = 1

    def __post_init__(self) -> None:
        """Reject filters that do not fit into the image."""
        super().__post_init__()
        if not self.heights or max(self.heights) > self.image:
            raise ConfigError(
                f"caser.heights must lie in 1 to caser.image {self.image}, got {self.heights}"
            )

    def body(self) -> nn.Module:
        """The filters and the layer that combines them."""
        return CaserBody(
            self.width, self.image, self.heights, self.horizontal, self.vertical, self.dropout
        )


class CaserBody(nn.Module):
    """Convolutions over the image of every token: the token and the L - 1 tokens before it."""

    width: int
    image: int
    heights: tuple[int, ...]
    horizontal: int
    vertical: int
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, deterministic: bool = True) -> jax.Array:
        """Map `[B, T, D]` and validity `[B, T]` to `[B, T, D]`; padding is read as zeros."""
        image, width = self.image, self.width
        x = jnp.where(valid[:, :, None], x, 0.0)
        x = jnp.pad(x, ((0, 0), (image - 1, 0), (0, 0)))
        features = []
        for height in self.heights:
            # Images overlap, so each response is computed once for all of them: [B, T + L - h, n].
            response = Einsum(
                "bthd,hdn->btn",
                (height, width, self.horizontal),
                ("layers", "embed", "mlp"),
                1,
                fan_in_normal(height * width),
                name=f"horizontal_{height}",
            )(_windows(x, height))
            # [B, T, L - h + 1, n] to the strongest response of each image, [B, T, n]
            features.append(_windows(jax.nn.relu(response), image - height + 1).max(2))
        images = jnp.moveaxis(_windows(x, image), 2, 3)  # [B, T, D, L]
        vertical = Einsum(
            "btdl,lv->btdv",
            (image, self.vertical),
            ("position", "mlp"),
            0,
            fan_in_normal(image),
            name="vertical",
        )(images)
        features.append(vertical.reshape(*vertical.shape[:2], -1))
        joined = jnp.concatenate(features, axis=-1)
        joined = Dropout(self.dropout, name="dropout")(joined, deterministic)
        dense = Einsum(
            "btf,fd->btd",
            (joined.shape[-1], width),
            ("mlp", "embed"),
            1,
            fan_in_normal(joined.shape[-1]),
            name="dense",
        )
        return jax.nn.relu(dense(joined))


def _windows(x: jax.Array, size: int) -> jax.Array:
    """All windows of `size` consecutive places: `[B, T, D]` to `[B, T - size + 1, size, D]`."""
    count = x.shape[1] - size + 1
    return jnp.stack([x[:, at : at + count] for at in range(size)], axis=2)
