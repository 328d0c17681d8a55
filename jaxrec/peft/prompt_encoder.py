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

from jaxrec.nn import Dense, LstmDirection, init_dense, init_lstm_direction
from jaxrec.peft.names import key_of
from jaxrec.peft.prompt import table_path

Encoder = Literal["none", "lstm", "mlp"]
_LSTM_LAYERS = 2


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
    network = make_network(key_of(key, path), count, width, kind, hidden, start)
    return unflatten_dict({f"{path}/prompt": network}, sep="/")


def make_network(
    key: jax.Array,
    count: int,
    width: int,
    kind: Encoder = "lstm",
    hidden: int = 0,
    start: jax.Array | None = None,
) -> PromptNetwork:
    """Draw the network of a prompt, boxed; see `init` for the initial values.

    Args:
      key: random key.
      count: P, number of virtual tokens.
      width: D of the model.
      kind: "lstm" or "mlp".
      hidden: E; 0 for the published width.
      start: `[P, D]` vectors that the network reads at the start; None for random ones.

    Example:
      >>> nn.meta.unbox(make_network(jax.random.key(0), 3, 8)).table().shape
      (3, 8)
    """
    keys = iter(jax.random.split(key, 32))
    if start is None:
        start = jax.random.normal(next(keys), (count, width))
    embedding = nn.Partitioned(start.astype(jnp.float32), (None, "embed"))
    lstm: list[tuple[LstmDirection, LstmDirection]] = []
    sizes = [width, hidden or width, hidden or width, width]
    if kind == "lstm":
        size = hidden or max(width // 2, 1)
        sizes = [2 * size, 2 * size, width]
        for layer in range(_LSTM_LAYERS):
            inputs = 2 * size if layer else width
            forward, backward = (init_lstm_direction(next(keys), inputs, size) for _ in range(2))
            lstm.append((forward, backward))
    mlp = tuple(init_dense(next(keys), one, two) for one, two in itertools.pairwise(sizes))
    return PromptNetwork(embedding=embedding, lstm=tuple(lstm), mlp=mlp)
