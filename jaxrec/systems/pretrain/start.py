"""What training begins with, if not all parameters are drawn at random."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.data.corpora import cooccurrence_vectors
from jaxrec.systems.pretrain.corpus import Encoded
from jaxrec.systems.pretrain.objective import Learning
from jaxrec.train import Plan

_TABLE = "embedding/table"


def token_vectors(learning: Learning, encoded: Encoded) -> np.ndarray | None:
    """The vectors that tokens begin with, `[V, D]`; None if all are drawn at random.

    Args:
      learning: what a run learns.
      encoded: its training part.

    Raises:
      DataError: the part has too few different tokens for the model's width.
    """
    config, shape = learning.config, learning.model.config
    if config.start.embeddings == "random":
        return None
    vectors = cooccurrence_vectors(
        encoded.documents,
        shape.vocab_size,
        shape.width,
        window=config.length,
        seed=config.train.seed,
    )
    known = int(vectors.any(axis=1).sum())
    print(f"{known:,} of {len(vectors):,} tokens begin with vectors of their co-occurrence")
    return vectors


def begin_with(plan: Plan, vectors: np.ndarray) -> Any:
    """The drawn parameters of a plan, with vectors of tokens in their embedding table.

    Args:
      plan: of the training.
      vectors: `[V, D]` of length 1, which are scaled to the variance of the drawn table; tokens
        with a vector of zeros keep what was drawn.
    """

    def replace(path: Any, drawn: jax.Array, vectors: jax.Array) -> jax.Array:
        if not jax.tree_util.keystr(path, simple=True, separator="/").endswith(_TABLE):
            return drawn
        length = jnp.sqrt((drawn**2).sum(axis=1).mean())
        return jnp.where(vectors.any(axis=1, keepdims=True), length * vectors, drawn)

    @jax.jit
    def mixed(drawn: Any, vectors: jax.Array) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: replace(path, leaf, vectors), drawn
        )

    return mixed(plan.initialize(jax.random.key(plan.config.seed)), vectors)
