"""How the attention of a generator from scratch begins, so that it soon finds equal tokens.

To write a skill that a resume names, and to see that a job asks for it, a token must find its equal
among the tokens before it. A query and a key of one token are alike at once if both projections are
(mimetic initialization, Trockman and Kolter, arXiv:2305.09828).
"""

from typing import Any

import jax.numpy as jnp


def with_equal_tokens(params: Any, share: float) -> Any:
    """Make the key projections of a transformer more like its query projections.

    A new key projection is c times the query projection and √(1 - c²) times the old key projection,
    which keeps the variance of independent ones.

    Args:
      params: tree of parameters, with "query" and "key" of one shape in each attention.
      share: c, from 0, which changes nothing, to 1, which makes both projections equal.

    Returns:
      A tree of the same shapes.

    Example:
      >>> layer = {"query": {"kernel": jnp.ones(2)}, "key": {"kernel": jnp.zeros(2)}}
      >>> with_equal_tokens({"attention": layer}, 0.5)["attention"]["key"]["kernel"].tolist()
      [0.5, 0.5]
    """
    if not isinstance(params, dict):
        return params
    found = {name: with_equal_tokens(part, share) for name, part in params.items()}
    if "query" in params and "key" in params:
        old, query = params["key"]["kernel"], params["query"]["kernel"]
        kernel = share * query + jnp.sqrt(jnp.float32(1 - share**2)) * old
        found["key"] = {**params["key"], "kernel": kernel}
    return found
