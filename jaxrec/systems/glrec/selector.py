"""The path soft selector: embeddings of paths that matter more become a little longer.

With the mean token embedding H_i of path i, the selector's vector W and the paths of a prompt,

  α = softmax(W · H_1, ..., W · H_M)
  e_t <- e_t + λ α_i e_t   for the tokens t of path i

(Wu et al., AAAI 2024, equations 6 and 7). The softmax is over the paths that the prompt has, and
the embeddings of all other tokens stay. W is learned with the model and begins as zeros, so that
all paths begin alike.

Shapes: `B` prompts, `T` tokens, `M` paths, `D` model width.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxrec.objectives import Loss, language_loss
from jaxrec.texts import TextModel

SELECTOR, VECTOR = "selector", "vector"


def path_weights(variables: Any, batch: Mapping[str, Any], count: int) -> jax.Array:
    """The weights α of the paths of each prompt, `[B, M]`; 0 for a path that is not there.

    Args:
      variables: of the model, with the selector's vector.
      batch: "tokens" `[B, T]` int32 and "paths" `[B, T]` int32, the number of the path that a token
        belongs to, from 1; 0 for none.
      count: M.
    """
    table = variables["params"]["embedding"]["table"]
    vector = variables[SELECTOR][VECTOR]
    # W · mean(e) = mean(W · e), so one number per token is enough.
    scores = jnp.take(table.astype(jnp.float32) @ vector, jnp.asarray(batch["tokens"]))  # [B, T]
    owned = jax.nn.one_hot(jnp.asarray(batch["paths"]) - 1, count)  # [B, T, M]
    sizes = owned.sum(axis=1)
    means = jnp.einsum("bt,btm->bm", scores, owned) / jnp.maximum(sizes, 1)
    means = jnp.where(sizes > 0, means, -jnp.inf)
    # Without any path all means are -inf, whose softmax is no number.
    means = jnp.where((sizes > 0).any(axis=1, keepdims=True), means, 0)
    return jax.nn.softmax(means) * (sizes > 0).astype(means.dtype)


def path_scales(
    variables: Any, batch: Mapping[str, Any], *, count: int, strength: float
) -> jax.Array:
    """What the embeddings are multiplied by: 1 + λ α_i for the tokens of path i, `[B, T]`.

    Args:
      variables: of the model, with the selector's vector.
      batch: see `path_weights`.
      count: M.
      strength: λ.
    """
    weights = path_weights(variables, batch, count)
    padded = jnp.pad(weights, ((0, 0), (1, 0)))  # [B, M + 1]
    return 1 + strength * jnp.take_along_axis(padded, jnp.asarray(batch["paths"]), axis=1)


def selected_loss(
    model: Any,
    count: int,
    strength: float,
    variables: Any,
    batch: Mapping[str, jax.Array],
    key: jax.Array | None,
) -> Loss:
    """`language_loss` with the embeddings of the paths scaled by the selector."""
    scales = path_scales(variables, batch, count=count, strength=strength)
    return language_loss(model, variables, {**batch, "scales": scales}, key)


def with_selector(text: TextModel) -> TextModel:
    """A text model whose trainable tree has a selector's vector too."""
    width = text.spec.config.width
    shape = nn.Partitioned(jax.ShapeDtypeStruct((width,), jnp.float32), names=("embed",))
    return dataclasses.replace(
        text,
        trainable={**text.trainable, SELECTOR: {VECTOR: shape}},
        start=functools.partial(_start, text),
    )


def _start(text: TextModel) -> Any:
    zeros = jnp.asarray(np.zeros(text.spec.config.width, np.float32))
    return {**text.start(), SELECTOR: {VECTOR: zeros}}
