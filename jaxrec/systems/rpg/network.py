"""RPG's network: the mean of code embeddings, a causal decoder, and a head for each place of an ID.

    x_t = mean_j e[j, c_j]                        item vector
    h_t = decoder(x_1 + p_1, ..., x_t + p_t)
    z_j = h + silu(W_j h + b_j)                   head of place j; W_j and b_j are zero at the start
    P(c_j = c) = softmax_c cos(z_j, e[j, c]) / τ

The score of an item is the mean over the places of ln P(c_j), and the loss of a prediction is the
mean of -ln P(c_j) of the target. The blocks are those of the other transformers here.

Shapes: `B` batch, `T` items of a row, `M` predictions, `L` places, `C` codes a place, `D` width.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.baselines import TransformerBody, transformer_config
from jaxrec.nn import mean_of_codes
from jaxrec.objectives import Loss
from jaxrec.systems.rpg.config import NetworkConfig
from jaxrec.systems.rpg.repeats import REPEAT_ROWS, repeat_bias, repeat_loss

# Collection of arrays that are part of a model but not trained.
FIXED = "fixed"
# Initial standard deviation of the code embeddings, as in GPT-2.
_STD = 0.02


class RpgNetwork(nn.Module):
    """From histories to the log-probabilities of the codes of the next item.

    Attributes:
      config: settings.
      levels: L.
      size: C.
    """

    config: NetworkConfig
    levels: int
    size: int

    def setup(self) -> None:
        """Create the table, the body and the heads."""
        c, shape = self.config, (self.levels, self.config.width, self.config.width)
        names = ("layers", "vocab", "embed")
        normal = nn.with_partitioning(nn.initializers.normal(_STD), names)
        zeros = nn.initializers.zeros_init()
        self.table = self.param("table", normal, (self.levels, self.size, c.width), jnp.float32)
        self.heads = self.param(
            "heads", nn.with_partitioning(zeros, ("layers", "embed", None)), shape, jnp.float32
        )
        self.head_bias = self.param(
            "head_bias", nn.with_partitioning(zeros, ("layers", None)), shape[:2], jnp.float32
        )
        if c.repeat_bias:
            self.repeat = self.param("repeat", zeros, (), jnp.float32)
        self.body = TransformerBody(
            transformer_config(
                c.width,
                c.depth,
                c.num_heads,
                c.max_items,
                c.residual_dropout,
                mlp_width=c.mlp_width,
                activation="gelu_tanh",
                attention_dropout=c.attention_dropout,
            ),
            input_dropout=c.dropout,
        )

    def states(self, codes: jax.Array, valid: jax.Array, deterministic: bool = True) -> jax.Array:
        """States of histories: codes `[B, T, L]` and validity `[B, T]` to `[B, T, D]`."""
        x = jnp.where(valid[:, :, None], mean_of_codes(self.table, codes), 0.0)
        return self.body(x, valid, deterministic)

    def log_probs(self, states: jax.Array) -> jax.Array:
        """Log-probabilities of all codes: `[M, D]` to `[M, L, C]` float32."""

        def one(place: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
            return jax.nn.log_softmax(_logits(states, *place, self.config.temperature), axis=-1)

        return jnp.moveaxis(jax.lax.map(one, (self.heads, self.head_bias, self.table)), 0, 1)

    def losses(self, states: jax.Array, codes: jax.Array) -> jax.Array:
        """-mean_j ln P(c_j) of each prediction: `[M, D]` and `[M, L]` int to `[M]` float32.

        The places are visited one after the other, and what they compute is computed again for the
        gradient. Storing it, or all places at once, took a CPU twice as long.
        """

        @jax.checkpoint
        def one(head: jax.Array, bias: jax.Array, rows: jax.Array, code: jax.Array) -> jax.Array:
            logits = _logits(states, head, bias, rows, self.config.temperature)
            of_code = jnp.take_along_axis(logits, code[:, None], axis=1)[:, 0]
            return jax.nn.logsumexp(logits, axis=-1) - of_code

        def add(total: jax.Array, place: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
            return total + one(*place), None

        places = self.heads, self.head_bias, self.table, codes.T
        total, _ = jax.lax.scan(add, jnp.zeros(len(states), jnp.float32), places)
        return total / self.levels

    def __call__(self, codes: jax.Array, valid: jax.Array) -> jax.Array:
        """Log-probabilities after the last item of each history: `[B, L, C]`."""
        return self.log_probs(self.states(codes, valid)[:, -1])


def _logits(
    states: jax.Array, head: jax.Array, bias: jax.Array, rows: jax.Array, temperature: float
) -> jax.Array:
    """cos(z_j, e[j, c]) / τ of one place: `[M, D]`, `[D, D]`, `[D]`, `[C, D]` to `[M, C]`."""
    z = states + jax.nn.silu(states @ head + bias[None])
    return _unit(z) @ _unit(rows).T / temperature


def _unit(x: jax.Array) -> jax.Array:
    return x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-12)


def rpg_loss(model: RpgNetwork, variables: Any, items: jax.Array, key: jax.Array) -> Loss:
    """Sum of the losses of all predictions: every item after the first of each row.

    With a bias of items that were read, the `repeat_loss` of some rows is added.

    Args:
      model: the network.
      variables: its variables; the codes of all items, `[I, L]`, are "codes" in `FIXED`.
      items: `[B, 1 + T]` int32, padded on the left with -1, oldest first.
      key: random key for dropout.
    """
    codes = variables[FIXED]["codes"]
    read, target = items[:, :-1], items[:, 1:]
    counts = (read >= 0).reshape(-1)
    params = {"params": variables["params"]}
    states = model.apply(
        params,
        _of_items(codes, read),
        read >= 0,
        False,
        method="states",
        rngs={"dropout": key},
    )
    last = states[:, -1]
    states = states.reshape(-1, states.shape[-1])
    wanted = _of_items(codes, target).reshape(-1, codes.shape[1])
    losses = model.apply(params, states, wanted, method="losses")
    weight = counts.astype(jnp.float32)
    total = (losses * weight).sum()
    if model.config.repeat_bias:
        bias, few = repeat_bias(variables["params"], model.levels), slice(REPEAT_ROWS)
        table = model.apply(params, last[few], method="log_probs")
        draw = jax.random.fold_in(key, 1)
        total += repeat_loss(bias, table, codes, read[few], target[few, -1], draw)
    return Loss(total=total, weight=weight.sum(), parts={})


def next_codes(model: RpgNetwork, variables: Any, history: jax.Array) -> jax.Array:
    """Log-probabilities of the codes of the item after each history: `[B, H]` to `[B, L, C]`.

    Args:
      model: the network.
      variables: see `rpg_loss`.
      history: `[B, H]` int32, padded on the left with -1; only the newest items are read.
    """
    recent = history[:, -model.config.max_items :]
    codes = _of_items(variables[FIXED]["codes"], recent)
    return model.apply({"params": variables["params"]}, codes, recent >= 0)


def _of_items(codes: jax.Array, items: jax.Array) -> jax.Array:
    """Codes of items, those of item 0 for padding: `[I, L]`, `[...]` to `[..., L]`."""
    return jnp.take(codes, jnp.maximum(items, 0), axis=0, mode="clip").astype(jnp.int32)
