"""A scan over blocks: from embedded tokens to the states of the last layer.

Every block parameter has a leading axis of `depth`. Compile time therefore does not grow with
depth, and one layout serves conversion, low-rank updates and quantization.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxrec.core import GATHERED, ConfigError
from jaxrec.models.block import Block, PerLayer, Reach, Shared
from jaxrec.models.config import BlockKind, Remat, TransformerConfig
from jaxrec.models.hstu_block import HstuBlock
from jaxrec.nn import (
    ATTENDED,
    TUNED,
    Context,
    KeyValue,
    Memory,
    Norm,
    RopeScaling,
    ScoreTerms,
    SelfContext,
    relative_buckets,
    rotary_frequencies,
    rotation,
)

# The module of each kind of block.
BLOCKS: dict[BlockKind, type[Block] | type[HstuBlock]] = {"transformer": Block, "hstu": HstuBlock}
# What a block keeps for the backward pass, by `remat`. A scan copies everything kept into arrays of
# all blocks, which on a CPU takes longer than recomputing what is cheap.
KEPT: dict[Remat, Callable[..., bool]] = {
    "none": jax.checkpoint_policies.save_anything_except_these_names(GATHERED),
    "cheap": jax.checkpoint_policies.save_from_both_policies(
        jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
        jax.checkpoint_policies.save_only_these_names(ATTENDED),
    ),
    "full": jax.checkpoint_policies.nothing_saveable,
}
# Stacks of at most this depth are unrolled: that avoids the copies and compiles about as fast.
UNROLLED = 4


class Stack(nn.Module):
    """`depth` blocks and the final norm.

    Attributes:
      config: config of the blocks.
      causal: whether all keys lie in the past, which determines the relative buckets.
      cross: whether blocks attend to an encoder's memory.
    """

    config: TransformerConfig
    causal: bool = True
    cross: bool = False

    def setup(self) -> None:
        """Create the submodules."""
        c = self.config
        block = nn.remat(
            BLOCKS[c.block],
            static_argnums=(4,),
            prevent_cse=False,
            policy=KEPT[c.remat],
        )
        self.blocks = nn.scan(
            block,
            variable_axes={"params": 0, TUNED: 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=(0, nn.broadcast, nn.broadcast),
            length=c.depth,
            # Without a loop the compiler would merge recomputation under "full" with the original.
            unroll=c.depth if c.depth <= UNROLLED and c.remat != "full" else 1,
            metadata_params={nn.PARTITION_NAME: "layers"},
        )(c)
        if c.norm_order != "post":
            self.final_norm = Norm(c.norm, c.norm_eps)
        if c.positions == "relative":
            rows = nn.with_partitioning(nn.initializers.normal(0.02), ("position", "heads"))
            self.relative = self.param(
                "relative", rows, (c.relative_buckets, c.num_heads), jnp.float32
            )
        if self.cross:
            self.memory_projection = nn.scan(
                MemoryBlock,
                variable_axes={"params": 0, TUNED: 0},
                split_rngs={"params": True, "dropout": True},
                in_axes=(),
                length=c.depth,
                metadata_params={nn.PARTITION_NAME: "layers"},
            )(c)

    def memory(self, states: jax.Array) -> KeyValue:
        """Return keys and values of an encoder's states for all blocks.

        Args:
          states: `[B, S, D]`.

        Returns:
          Two arrays `[depth, B, S, G, H]`.
        """
        return self.memory_projection(states)[1]

    def __call__(
        self,
        x: jax.Array,
        positions: jax.Array,
        context: Context,
        cache: Any = None,
        memory: KeyValue | None = None,
        memory_valid: jax.Array | None = None,
        deterministic: bool = True,
        slots: jax.Array | None = None,
    ) -> tuple[jax.Array, KeyValue]:
        """Run the blocks.

        Args:
          x: `[B, T, D]` embedded tokens.
          positions: `[B, T]` int32.
          context: what the tokens attend to.
          cache: pytree whose leaves have a leading axis of `depth`, passed to the context layer by
            layer; None if the context needs no cache.
          memory: keys and values from `memory`; None without cross-attention.
          memory_valid: `[B, S]` or `[B, T, S]` bool; None without cross-attention.
          deterministic: False to apply dropout (needs a "dropout" key).
          slots: `[B, T]` int32 from `virtual_slots`; None without virtual tokens.

        Returns:
          `[B, T, D]` states after the final norm, and `[depth, B, T, G, H]` keys and values.
        """
        own, shared = self.read(positions, context, cache, memory, memory_valid, slots)
        x, key_value = self.blocks(x, own, shared, deterministic)
        return (x if self.config.norm_order == "post" else self.final_norm(x)), key_value

    def read(
        self,
        positions: jax.Array,
        context: Context,
        cache: Any = None,
        memory: KeyValue | None = None,
        memory_valid: jax.Array | None = None,
        slots: jax.Array | None = None,
    ) -> tuple[PerLayer, Shared]:
        """Return the inputs of each block and those of all blocks, from the arguments of a call.

        Raises:
          ConfigError: HSTU's blocks would read tokens in both directions.
        """
        c = self.config
        if c.block == "hstu" and isinstance(context, SelfContext) and not context.causal:
            raise ConfigError(
                "model.block hstu measures distances to the past, and this model reads an encoder's"
                " or a prefix's tokens in both directions; make it a causal decoder (architecture"
                " causal), or set model.block transformer"
            )
        full, local = self._reaches(positions, context)
        flags = None
        if local is not None:
            flags = jnp.asarray(np.arange(1, c.depth + 1) % (c.global_every or 1) != 0)
        return PerLayer(cache, memory, flags), Shared(
            context=context,
            reach=full,
            local=local,
            memory_valid=memory_valid,
            slots=slots,
            distance=context.distance(positions) if c.block == "hstu" else None,
        )

    def _reaches(self, positions: jax.Array, context: Context) -> tuple[Reach, Reach | None]:
        """Return the reach of all blocks; if only some have a window, return theirs separately."""
        c = self.config
        bias = None
        if c.positions == "relative":
            buckets = relative_buckets(
                context.distance(positions), c.relative_buckets, c.relative_distance, self.causal
            )
            # [B or 1, T, S, N] -> [B or 1, N, T, S]
            bias = jnp.moveaxis(jnp.take(self.relative, buckets, axis=0), -1, 1)

        def reach(theta: float, window: int | None, stretched: bool) -> Reach:
            angles = None
            if c.position_kind == "rope":
                scaling = c.rope_scaling if stretched else RopeScaling()
                angles = rotation(positions, rotary_frequencies(c.head_width, theta, scaling))
            allowed = None if window is None else context.distance(positions) < window
            return Reach(ScoreTerms(bias=bias, allowed=allowed, softcap=c.score_cap), angles)

        if c.window is None or c.global_every is None:
            return reach(c.rope_theta, c.window, True), None
        # Global blocks need a mask too, because one scan chooses between the two kinds.
        full = reach(c.rope_theta, np.iinfo(np.int32).max, True)
        return full, reach(c.local_theta or c.rope_theta, c.window, c.local_theta is None)


class MemoryBlock(nn.Module):
    """`Memory` as one step of a scan, which passes the states on unchanged."""

    config: TransformerConfig

    @nn.compact
    def __call__(self, states: jax.Array) -> tuple[jax.Array, KeyValue]:
        """Return the states, `[B, S, D]`, and their keys and values, each `[B, S, G, H]`."""
        c = self.config
        layer = Memory(c.kv_heads, c.head_width, c.qkv_bias, jnp.dtype(c.dtype), name="cross")
        return states, layer(states)
