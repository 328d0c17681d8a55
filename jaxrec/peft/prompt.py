"""Prompt tuning: learned vectors in front of the input (Lester et al. 2021).

The published code trains them with Adafactor at a constant learning rate of 0.3; Adam needs 1e-3 to
1e-2. The vectors replace embeddings as the first block reads them, after any embedding scale.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import ConfigError
from jaxrec.models import ModelSpec
from jaxrec.peft.names import key_of


def init(key: jax.Array, boxed: Any, count: int, start: jax.Array | None = None) -> dict[str, Any]:
    """Create a prompt.

    Args:
      key: random key.
      boxed: variables or shapes of the model with their boxes on.
      count: P, number of virtual tokens.
      start: `[P, D]` initial vectors; None for uniform numbers in +-0.5 (section 3.1).

    Returns:
      The `TUNED` tree, float32 and boxed with its axis names.
    """
    path, shape = table_path(boxed)
    if start is None:
        own = key_of(key, path)
        start = jax.random.uniform(own, (count, shape[1]), minval=-0.5, maxval=0.5)
    prompt = nn.Partitioned(start.astype(jnp.float32), (None, "embed"))
    return unflatten_dict({f"{path}/prompt": prompt}, sep="/")


def vectors(
    key: jax.Array, spec: ModelSpec, params: Any, count: int, tokens: jax.Array, random: bool
) -> jax.Array:
    """Return the embeddings of P tokens, without positions, as initial vectors of a prompt.

    Args:
      key: random key.
      spec: the base.
      params: `{"params": ...}` of the base.
      count: P, number of virtual tokens.
      tokens: `[N]` int32 tokens of a text, which are cut or repeated to P, as in PEFT; with
        `random`, frequent tokens to draw from (the 5,000 most frequent in section 3.1).
      random: whether to draw P different tokens at random.

    Returns:
      `[P, D]` float32.

    Raises:
      ConfigError: there are no tokens, or fewer than P to draw from.
    """
    if len(tokens) < (count if random else 1):
        raise ConfigError(
            f"a prompt of tune.virtual_tokens {count} cannot start from {len(tokens)} tokens; "
            "provide more frequent tokens or a longer tune.prompt_text"
        )
    if random:
        chosen = jax.random.choice(key, tokens, (count,), replace=False)
    else:
        chosen = jnp.tile(tokens, -(-count // len(tokens)))[:count]
    path, _ = table_path(params)
    table = flatten_dict(params["params"], sep="/")[f"{path}/table"]
    return jnp.take(table, chosen, axis=0).astype(jnp.float32) * spec.config.embedding_scale


def table_path(variables: Any) -> tuple[str, tuple[int, ...]]:
    """Return the path of a model's embedding and the shape of its table, `[V, D]`.

    Args:
      variables: variables or shapes of the model, with their boxes or without.

    Raises:
      ConfigError: the model has no embedding.
    """
    for path, leaf in flatten_dict(nn.meta.unbox(variables)["params"], sep="/").items():
        if path.endswith("embedding/table"):
            return path.removesuffix("/table"), leaf.shape
    raise ConfigError("the model has no embedding to put a prompt into")
