"""k-means on the accelerator: k-means++ seeds, then Lloyd or mini-batch steps, in one jitted call.

Sources: Arthur and Vassilvitskii, "k-means++", 2007; Sculley, "Web-Scale K-Means Clustering", 2010
(mini-batches; the step size of a centroid is one over the number of rows it has seen).

Shapes: `I` vectors, `D` their width, `C` centroids, `M` rows of a mini-batch.
"""

import functools
import math

import jax
import jax.numpy as jnp

# Seeds are drawn from at most so many rows per centroid, because each draw reads all of them.
_SEED_ROWS = 64


@functools.partial(jax.jit, static_argnames=("size", "iterations", "batch"))
def fit_on_device(
    vectors: jax.Array, size: int, key: jax.Array, iterations: int = 25, batch: int | None = None
) -> jax.Array:
    """Return centroids, float32 [C, D].

    A centroid without rows moves to the row that is farthest from its own centroid.

    Args:
      vectors: float32 [I, D], at least C rows.
      size: C (static).
      key: random key for seeds and batches.
      iterations: number of steps (static).
      batch: M, rows drawn for each step (static); None uses all rows.

    Cost: at most 2 I C D log(C) operations for the seeds and 4 M C D per step, all in matrix
    products.
    """
    seed_key, key = jax.random.split(key)
    few = min(vectors.shape[0], _SEED_ROWS * size)
    rows = jax.random.choice(jax.random.fold_in(seed_key, 0), vectors, (few,), replace=False)
    centroids = _seeds(rows, size, jax.random.fold_in(seed_key, 1))
    whole = batch is None or batch >= vectors.shape[0]

    def body(state: tuple[jax.Array, jax.Array], key: jax.Array) -> tuple[tuple, None]:
        centroids, seen = state
        rows = vectors
        if batch is not None and not whole:
            rows = vectors[jax.random.randint(key, (batch,), 0, vectors.shape[0])]
        distance = _distances(rows, centroids)
        nearest = jnp.argmin(distance, axis=1)
        member = jax.nn.one_hot(nearest, size, dtype=rows.dtype)
        count = member.sum(0)
        total = jnp.einsum("ic,id->cd", member, rows, precision="highest")
        if whole:
            seen = count
            moved = total / jnp.maximum(count, 1.0)[:, None]
        else:
            seen = seen + count
            step = (total - count[:, None] * centroids) / jnp.maximum(seen, 1.0)[:, None]
            moved = centroids + step
        # The c-th empty centroid moves to the c-th farthest row.
        _, far = jax.lax.top_k(distance.min(1), min(size, rows.shape[0]))
        empty = seen == 0
        rank = jnp.clip(jnp.cumsum(empty) - 1, 0, far.shape[0] - 1)
        moved = jnp.where(empty[:, None], rows[far[rank]], moved)
        return (moved, seen), None

    start = (centroids, jnp.zeros(size, vectors.dtype))
    (centroids, _), _ = jax.lax.scan(body, start, jax.random.split(key, iterations))
    return centroids


def _seeds(rows: jax.Array, size: int, key: jax.Array) -> jax.Array:
    """Greedy k-means++: draw a few rows by squared distance and keep the one that helps most."""
    tries = 2 + int(math.log(size))
    first_key, key = jax.random.split(key)
    first = rows[jax.random.randint(first_key, (), 0, rows.shape[0])]
    centroids = jnp.zeros((size, rows.shape[1]), rows.dtype).at[0].set(first)

    def body(
        state: tuple[jax.Array, jax.Array], item: tuple[jax.Array, jax.Array]
    ) -> tuple[tuple, None]:
        centroids, distance = state
        at, key = item
        # Rows that are already seeds have weight 0. If all rows have, any row will do.
        weight = jnp.log(jnp.maximum(distance, 1e-30))
        drawn = rows[jax.random.categorical(key, weight, shape=(tries,))]
        closer = jnp.minimum(distance[None], _distances(drawn, rows))
        best = jnp.argmin(closer.sum(1))
        return (centroids.at[at].set(drawn[best]), closer[best]), None

    items = (jnp.arange(1, size), jax.random.split(key, size - 1))
    start = (centroids, _distances(rows, first[None])[:, 0])
    return jax.lax.scan(body, start, items)[0][0]


def _distances(rows: jax.Array, centroids: jax.Array) -> jax.Array:
    """Return squared distances [I, C], in float32 whatever the hardware's default precision is."""
    cross = jnp.einsum("id,cd->ic", rows, centroids, precision="highest")
    norms = (rows**2).sum(1)[:, None] + (centroids**2).sum(1)[None, :]
    return jnp.maximum(norms - 2 * cross, 0.0)
