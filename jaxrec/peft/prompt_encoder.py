"""P-tuning: a network that computes the vectors of a prompt during training (Liu et al. 2021).

The vectors of a prompt depend on one another through the network, which makes them easier to train
than free ones (arXiv:2103.10385, section 3.2). With an LSTM::

    E [P, D]  ->  two layers, each reads in both directions  ->  [P, 2 E]  ->  MLP  ->  [P, D]

With an MLP alone, which PEFT recommends, each vector is computed from its own row of the embedding.
After training only the vectors are kept, so the model is one with an ordinary prompt.
"""

import dataclasses
import itertools
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.traverse_util import unflatten_dict

from jaxrec.peft.names import key_of
from jaxrec.peft.prompt import table_path

Encoder = Literal["none", "lstm", "mlp"]
_LSTM_LAYERS = 2


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Dense:
    """An affine map.

    Attributes:
      kernel: `[inputs, outputs]`.
      bias: `[outputs]`.
    """

    kernel: jax.Array
    bias: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map `[P, inputs]` to `[P, outputs]`."""
        return x @ self.kernel + self.bias[None]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LstmDirection:
    """One direction of a layer of an LSTM; the gates are input, forget, cell and output.

    Attributes:
      read: `[inputs, 4 E]`.
      state: `[E, 4 E]`.
      bias: `[4 E]`, which PyTorch splits into two.
    """

    read: jax.Array
    state: jax.Array
    bias: jax.Array

    def __call__(self, x: jax.Array, reverse: bool) -> jax.Array:
        """Read `[P, inputs]` from either end: `[P, E]`."""
        size = self.state.shape[0]
        start = jnp.zeros(size, x.dtype), jnp.zeros(size, x.dtype)

        def step(
            carry: tuple[jax.Array, jax.Array], gates: jax.Array
        ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
            hidden, cell = carry
            entry, forget, new, out = jnp.split(gates + hidden @ self.state, 4)
            cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(entry) * jnp.tanh(new)
            hidden = jax.nn.sigmoid(out) * jnp.tanh(cell)
            return (hidden, cell), hidden

        gates = x @ self.read + self.bias[None]
        return jax.lax.scan(step, start, gates, reverse=reverse)[1]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PromptNetwork:
    """The network that computes a prompt during training.

    Attributes:
      embedding: `[P, D]`, what the network reads.
      lstm: layers, each a direction from the front and one from the back; empty without an LSTM.
      mlp: maps with ReLU between them.
    """

    embedding: jax.Array
    lstm: tuple[tuple[LstmDirection, LstmDirection], ...]
    mlp: tuple[Dense, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """P and D, the shape of the prompt."""
        return tuple(self.embedding.shape)

    @jax.jit
    def table(self) -> jax.Array:
        """Compute the prompt, `[P, D]`."""
        x = self.embedding
        for forward, backward in self.lstm:
            x = jnp.concatenate([forward(x, False), backward(x, True)], axis=1)
        *inner, last = self.mlp
        for layer in inner:
            x = jax.nn.relu(layer(x))
        return last(x)


def init(
    key: jax.Array,
    boxed: Any,
    count: int,
    kind: Encoder,
    hidden: int = 0,
    start: jax.Array | None = None,
) -> dict[str, Any]:
    """Create the network of a prompt.

    Initial values follow PEFT: embeddings are standard normal, weights and biases are uniform in
    +-1/sqrt(inputs), those of the LSTM in +-1/sqrt(E).

    Args:
      key: random key.
      boxed: variables or shapes of the model with their boxes on.
      count: P, number of virtual tokens.
      kind: "lstm" for an LSTM of two layers and an MLP of two, "mlp" for an MLP of three.
      hidden: E, hidden width of the MLP, or of each direction of the LSTM; 0 for D, or D / 2, as
        published.
      start: `[P, D]` vectors that the network reads at the start; None for random ones.

    Returns:
      The `TUNED` tree, float32 and boxed. Its node is a `PromptNetwork`.

    Example:
      >>> from jaxrec.models import ModelSpec
      >>> from jaxrec.testing import tiny_model
      >>> shapes = ModelSpec("causal", tiny_model()).shapes()
      >>> made = nn.meta.unbox(init(jax.random.key(0), shapes, 3, "lstm"))
      >>> made["embedding"]["prompt"].table().shape == (3, tiny_model().width)
      True
    """
    path, (_, width) = table_path(boxed)
    keys = iter(jax.random.split(key_of(key, path), 32))
    if start is None:
        start = jax.random.normal(next(keys), (count, width))
    embedding = nn.Partitioned(start.astype(jnp.float32), (None, "embed"))
    lstm, sizes = [], [width, hidden or width, hidden or width, width]
    if kind == "lstm":
        size = hidden or max(width // 2, 1)
        sizes = [2 * size, 2 * size, width]
        for layer in range(_LSTM_LAYERS):
            inputs = 2 * size if layer else width
            lstm.append((_direction(keys, inputs, size), _direction(keys, inputs, size)))
    mlp = tuple(
        Dense(_uniform(next(keys), (one, two), one), _uniform(next(keys), (two,), one))
        for one, two in itertools.pairwise(sizes)
    )
    network = PromptNetwork(embedding=embedding, lstm=tuple(lstm), mlp=mlp)
    return unflatten_dict({f"{path}/prompt": network}, sep="/")


def _direction(keys: Any, inputs: int, size: int) -> LstmDirection:
    return LstmDirection(
        read=_uniform(next(keys), (inputs, 4 * size), size),
        state=_uniform(next(keys), (size, 4 * size), size),
        bias=_uniform(next(keys), (4 * size,), size),
    )


def _uniform(key: jax.Array, shape: tuple[int, ...], inputs: int) -> nn.Partitioned:
    bound = inputs**-0.5
    values = jax.random.uniform(key, shape, minval=-bound, maxval=bound)
    return nn.Partitioned(values, (None,) * len(shape))
