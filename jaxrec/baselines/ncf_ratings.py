"""Neural collaborative filtering of ratings: the network of NeuMF, trained on squared errors.

He et al. (WWW 2017, arXiv:1708.05031) train the same network on interactions and drawn negatives,
see `NeuMfConfig`. Ratings say what a user disliked, so nothing needs to be drawn.

Shapes: `n` ratings, `B` batch, `U` users, `I` items, `N` rows of candidates, `A` candidates.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jaxrec.baselines.ncf import NeuMfConfig
from jaxrec.core import ConfigError, DataError, check_numbers


def fit(
    user: np.ndarray,
    item: np.ndarray,
    rating: np.ndarray,
    num_users: int,
    num_items: int,
    config: NeuMfConfig,
    *,
    epochs: int = 20,
    weight_decay: float = 0.1,
    seed: int = 0,
) -> dict[str, Any]:
    """Train with AdamW for a number of epochs.

    Args:
      user: `[n]` user numbers.
      item: `[n]` item numbers.
      rating: `[n]` ratings.
      num_users: U.
      num_items: I.
      config: shape of the network, and of its training the learning rate and the batch size.
      epochs: passes over the ratings.
      weight_decay: decoupled weight decay of all parameters, multiplied by the learning rate.
      seed: of the parameters and of the order.

    Returns:
      "params", the variables of the network, and "mean" of the ratings.

    Raises:
      ConfigError: no epoch.
      DataError: no ratings, one that is not finite, or a number that is no user or no item.

    Example:
      >>> import numpy as np
      >>> from jaxrec.baselines import NeuMfConfig, ncf_ratings
      >>> user, item = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
      >>> config = NeuMfConfig(width=4, layers=1)
      >>> params = ncf_ratings.fit(user, item, np.array([5.0, 1, 5, 1]), 2, 2, config, epochs=300)
      >>> scores = ncf_ratings.scores(params, np.array([0]), np.array([[0, 1]]), config)
      >>> bool(scores[0, 0] > scores[0, 1])
      True
    """
    if epochs < 1:
        raise ConfigError(f"epochs must be at least 1, got {epochs}")
    check_numbers(user, num_users, "users of ratings", missing=False)
    check_numbers(item, num_items, "items of ratings", missing=False)
    rating = np.asarray(rating, np.float64)
    if not len(rating) or not np.isfinite(rating).all():
        raise DataError("neural collaborative filtering needs ratings, all of them finite numbers")
    mean = float(rating.mean())
    module = config.build(num_users, num_items)
    size = min(config.train.batch_size, len(rating))
    rng = np.random.default_rng(seed)
    key = jax.random.key(seed)
    params = module.init(key, jnp.zeros(1, jnp.int32), jnp.zeros((1, 1), jnp.int32))
    params = nn.meta.unbox(params)
    optimizer = optax.adamw(config.train.lr, weight_decay=weight_decay)
    state = optimizer.init(params)

    def error(params: Any, batch: Mapping[str, jax.Array]) -> jax.Array:
        found = module.apply(params, batch["user"], batch["item"][:, None])
        return jnp.square(found[:, 0] - batch["goal"]).mean()

    def step(carry: tuple[Any, Any], batch: Mapping[str, jax.Array]) -> tuple[Any, None]:
        params, state = carry
        gradient = jax.grad(error)(params, batch)
        with jax.numpy_dtype_promotion("standard"):  # Optax needs it
            updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), None

    @jax.jit
    def epoch(params: Any, state: Any, batches: Mapping[str, jax.Array]) -> tuple[Any, Any]:
        return jax.lax.scan(step, (params, state), batches)[0]

    columns = {
        "user": np.asarray(user, np.int32),
        "item": np.asarray(item, np.int32),
        "goal": (rating - mean).astype(np.float32),
    }
    whole = len(rating) // size * size
    for _ in range(epochs):
        # The rows that are left over by one epoch are others in the next.
        order = rng.permutation(len(rating))[:whole].reshape(-1, size)
        batches = {name: column[order] for name, column in columns.items()}
        params, state = epoch(params, state, batches)
    return {"params": params, "mean": mean}


def scores(
    params: Mapping[str, Any],
    users: np.ndarray,
    candidates: np.ndarray,
    config: NeuMfConfig,
) -> np.ndarray:
    """Predict ratings of candidates: `[N, A]` float64.

    Args:
      params: returned by `fit`.
      users: `[N]` user numbers.
      candidates: `[N, A]` item numbers.
      config: shape of the network.

    Raises:
      DataError: a number that is no user or no item.
    """
    users, candidates = np.asarray(users, np.int32), np.asarray(candidates, np.int32)
    names = ("network_users", "product_users"), ("network_items", "product_items")
    tables = params["params"]["params"]
    num_users, num_items = (
        next(len(tables[name]) for name in pair if name in tables) for pair in names
    )
    check_numbers(users, num_users, "users", missing=False)
    check_numbers(candidates, num_items, "candidates", missing=False)
    module = config.build(num_users, num_items)
    found = module.apply(params["params"], jnp.asarray(users), jnp.asarray(candidates))
    return np.asarray(found, np.float64) + params["mean"]
