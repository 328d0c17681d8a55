"""The model: one encoder, prompts, a head for each task, the matching form, and a tagger of words.

Shapes: `B` rows, `T` tokens, `K` chunks of a row, `W` words, `D` width, `N` tasks, `C` classes.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxrec.models import Encoder
from jaxrec.nn import init_dense, init_lstm_direction
from jaxrec.objectives import Crf, constrain_crf, init_crf
from jaxrec.systems.recruitpro.config import InputConfig
from jaxrec.systems.recruitpro.prompts import Layout, init_prompts, prompt_table, with_prompts
from jaxrec.systems.recruitpro.tables import Kind, TagTable

_LSTM_LAYERS = 2
_NEVER = -1e9  # score of a class that a task does not have


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Network:
    """The module of a run, without its parameters.

    Attributes:
      encoder: the module.
      input: how texts are laid out.
      layout: the tokens around a text.
      kinds: of each task.
      classes: number of outputs of each task's head: 1 for a number or a match.
      tags: of the tagging task; None without one.
      dropout: rate on the states that heads read.
      gain: factor of the heads' parameters, by which they learn faster than the encoder.
    """

    encoder: Encoder
    input: InputConfig
    layout: Layout
    kinds: tuple[Kind, ...]
    classes: tuple[int, ...]
    tags: TagTable | None
    dropout: float = 0.0
    gain: float = 1.0

    @property
    def width(self) -> int:
        """D."""
        return self.encoder.config.width

    @property
    def _spread(self) -> float:
        """Inverse variance of the heads' kernels."""
        return self.width * self.gain**2

    def init(self, key: jax.Array) -> dict[str, Any]:
        """Draw everything but the encoder, boxed with axis names."""
        prompt, head, match, tag = jax.random.split(key, 4)
        width, outputs = self.width, max(self.classes)
        tree: dict[str, Any] = {
            "heads": {
                "kernel": _normal(head, (len(self.kinds), width, outputs), self._spread),
                "bias": _boxed(jnp.zeros((len(self.kinds), outputs))),
            }
        }
        if self.input.form != "cls":
            tree["prompts"] = init_prompts(prompt, self.input, len(self.kinds), width)
        if "pair" in self.kinds:
            *layers, last = jax.random.split(match, _LSTM_LAYERS + 1)
            lstm = [init_lstm_direction(layer, width, width) for layer in layers]
            tree["match"] = {"lstm": lstm, "dense": init_dense(last, width, width)}
        if self.tags is not None:
            first, second = jax.random.split(tag)
            count = len(self.tags.names)
            tree["tags"] = {
                "kernel": _normal(first, (width, count), self._spread),
                "bias": _boxed(jnp.zeros(count)),
                "crf": jax.tree.map(_boxed, init_crf(second, count)),
            }
        return tree

    def prompts(self, variables: Any, task: jax.Array) -> jax.Array | None:
        """The vectors of a task's prompts, `[P, D]`; None for a form without any."""
        if self.input.form == "cls":
            return None
        return prompt_table(variables["prompts"], self.input, task)

    def states(
        self,
        variables: Any,
        table: jax.Array | None,
        tokens: jax.Array,
        sizes: jax.Array,
        second: jax.Array | None = None,
    ) -> jax.Array:
        """The encoder's states of rows: `[B, T, D]` float32.

        Args:
          variables: of the network.
          table: from `prompts`.
          tokens: `[B, T]` int32, laid out.
          sizes: `[B]` int32, numbers of tokens; a row of none is read as its first token alone.
          second: `[B]` bool, whether a row is of token type 1, such as a job beside a resume; None
            for none.
        """
        places = jnp.arange(tokens.shape[1], dtype=jnp.int32)[None]
        valid = places < jnp.maximum(sizes, 1)[:, None]
        types = None
        if second is not None and self.encoder.config.token_types > 1:
            types = jnp.broadcast_to(second[:, None], tokens.shape).astype(jnp.int32)
        given = with_prompts(variables["encoder"], table)
        return self.encoder.apply(given, tokens, valid, types=types).astype(jnp.float32)

    def logits(
        self, variables: Any, vectors: jax.Array, task: jax.Array, key: jax.Array | None = None
    ) -> jax.Array:
        """The outputs of a task's head for `[B, D]` vectors: `[B, C]`, of the largest C.

        Classes that the task does not have get a score of -1e9.

        Args:
          variables: of the network.
          vectors: what the head reads.
          task: int32 scalar.
          key: dropout key; None for a deterministic pass.
        """
        heads = variables["heads"]
        kernel = jax.lax.dynamic_index_in_dim(heads["kernel"], task, keepdims=False)
        bias = jax.lax.dynamic_index_in_dim(heads["bias"], task, keepdims=False)
        counts = jnp.asarray(np.array(self.classes, np.int32))[task]
        known = jnp.arange(kernel.shape[1], dtype=jnp.int32) < counts
        scores = jnp.float32(self.gain) * (self.drop(vectors, key) @ kernel + bias[None])
        return jnp.where(known[None], scores, jnp.float32(_NEVER))

    def drop(self, x: jax.Array, key: jax.Array | None) -> jax.Array:
        """Apply dropout, if there is a key."""
        if key is None or not self.dropout:
            return x
        kept = jax.random.bernoulli(key, 1 - self.dropout, x.shape)
        return jnp.where(kept, x / jnp.float32(1 - self.dropout), jnp.zeros_like(x))

    def match(self, variables: Any, chunks: jax.Array, valid: jax.Array) -> jax.Array:
        """Read the chunks of a pair, first the resume's and then the job's: `[B, D]`.

        Two layers of an LSTM read the sequence, and a layer with ReLU reads its last state. Chunks
        that a text does not have leave the state as it is.

        Args:
          variables: of the network.
          chunks: `[B, K, D]` vectors of chunks.
          valid: `[B, K]` bool.
        """
        found = chunks
        for layer in variables["match"]["lstm"]:
            read = functools.partial(layer, reverse=False)
            found = jax.vmap(lambda x, real, read=read: read(x, valid=real))(found, valid)
        return jax.nn.relu(variables["match"]["dense"](found[:, -1]))

    def emissions(self, variables: Any, states: jax.Array, first: jax.Array) -> jax.Array:
        """Scores of the tags of words, `[B, W, C]`.

        Args:
          variables: of the network.
          states: `[B, T, D]`.
          first: `[B, W]` int32, place of the first token of each word.
        """
        vectors = jnp.take_along_axis(states, first[:, :, None], axis=1)
        head = variables["tags"]
        flat = vectors.reshape(-1, vectors.shape[2]) @ head["kernel"] + head["bias"][None]
        return jnp.float32(self.gain) * flat.reshape(*vectors.shape[:2], -1)

    def crf(self, variables: Any) -> Crf:
        """The CRF over tags, in which illegal transitions are forbidden."""
        assert self.tags is not None
        return constrain_crf(variables["tags"]["crf"], *map(jnp.asarray, self.tags.legal))

    def chunk_vectors(
        self, variables: Any, table: jax.Array | None, batch: Mapping[str, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        """What a head reads of each chunk, and the mean state of its skill prompt.

        Args:
          variables: of the network.
          table: from `prompts`.
          batch: "tokens" `[B, K, T]`, "sizes" `[B, K]`, and "second" `[B, K]` bool, whether a chunk
            is the job's.

        Returns:
          Two `[B, K, D]`; the second is of zeros in a form without a skill prompt.
        """
        tokens = batch["tokens"]
        flat = tokens.reshape(-1, tokens.shape[2])
        states = self.states(
            variables, table, flat, batch["sizes"].reshape(-1), batch["second"].reshape(-1)
        )
        shape = (*tokens.shape[:2], self.width)
        return self.read(states).reshape(shape), self.skill(states).reshape(shape)

    def read(self, states: jax.Array) -> jax.Array:
        """The state that a head reads: that of the mask, or of the first token. `[B, D]`."""
        return states[:, self.layout.read]

    def skill(self, states: jax.Array) -> jax.Array:
        """The mean state of the skill prompt, `[B, D]`; zeros where there is none."""
        start, end = self.layout.skill
        if end == start:
            return jnp.zeros((states.shape[0], states.shape[2]), states.dtype)
        return states[:, start:end].mean(axis=1)


def task_of(batch: Mapping[str, jax.Array]) -> jax.Array:
    """The number of a batch's task, which is the same in all rows: an int32 scalar."""
    return batch["task"][0]


def _boxed(values: jax.Array) -> nn.Partitioned:
    return nn.Partitioned(values.astype(jnp.float32), (None,) * values.ndim)


def _normal(key: jax.Array, shape: Sequence[int], inputs: float) -> nn.Partitioned:
    """Draw from a normal distribution with the variance 1 / inputs."""
    return _boxed(jax.random.normal(key, shape) * jnp.float32(inputs**-0.5))
