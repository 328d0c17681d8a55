"""Scales of an encoder-decoder multiplied into its parameters, as Hugging Face's T5 has none."""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.models.spec import ModelSpec


def fold_scales(spec: ModelSpec, params: Any) -> tuple[ModelSpec, Any]:
    """Return an equal encoder-decoder without scales, whose head has a table of its own.

    Args:
      spec: of an encoder-decoder, perhaps with scales of embeddings, queries and logits, and with
        tokens that are only read; the head's rows of these become zero.
      params: tree below "params".

    Returns:
      The new spec and the new tree.

    Example:
      >>> import jax
      >>> from flax import linen as nn
      >>> from jaxrec.models import TransformerConfig
      >>> scaled = TransformerConfig(vocab_size=8, width=4, depth=1, embedding_scale=2.0)
      >>> spec = ModelSpec("encoder_decoder", scaled)
      >>> ones = jax.tree.map(jnp.ones_like, nn.meta.unbox(spec.shapes()))["params"]
      >>> folded, params = fold_scales(spec, ones)
      >>> folded.config.embedding_scale, float(params["embedding"]["table"][0, 0])
      (1.0, 2.0)
    """
    c = spec.config
    leaves = flatten_dict(params, sep="/")
    query_scale = c.query_scale or 1 / math.sqrt(c.head_width)
    for path, leaf in leaves.items():
        if path.endswith("/query/kernel"):
            leaves[path] = leaf * jnp.asarray(query_scale, leaf.dtype)
    table = leaves["embedding/table"]
    head = table if c.tie_embeddings else leaves["head/table"]
    written = c.vocab_size - c.read_only
    can_write = (jnp.arange(len(head)) < written)[:, None].astype(head.dtype)
    leaves["head/table"] = head * can_write * jnp.asarray(c.logit_scale, head.dtype)
    leaves["embedding/table"] = table * jnp.asarray(c.embedding_scale, table.dtype)
    plain = dataclasses.replace(
        c, embedding_scale=1.0, query_scale=1.0, logit_scale=1.0, tie_embeddings=False, read_only=0
    )
    return dataclasses.replace(spec, config=plain), unflatten_dict(leaves, sep="/")
