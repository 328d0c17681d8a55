"""Matrix factorization of implicit feedback by alternating least squares (Hu et al., ICDM 2008).

With r_ui the number of times that user u met item i, preference p_ui = [r_ui > 0] and confidence
c_ui = 1 + α r_ui, it minimizes

    Σ_ui c_ui (p_ui - x_u · y_i)² + λ (Σ_u |x_u|² + Σ_i |y_i|²)

by solving exactly for all x with y fixed, then for all y with x fixed, and so on. A user's vector
is a function of the item vectors and the user's history (equation 4), so `scores` computes it for
any history, whether or not the user was trained.

Shapes: `B` batch, `H` history length, `U` users, `I` items, `D` factors, `E` interactions.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.baselines.pair_table import flatten
from jaxrec.core import ConfigError, check_numbers

# Most numbers in the gathered item vectors of one call; it limits the rows solved in one batch.
_GATHERED = 8_000_000


def fit(
    train_sequences: Sequence[np.ndarray],
    num_items: int,
    *,
    width: int = 64,
    alpha: float = 1.0,
    regularization: float = 10.0,
    iterations: int = 15,
    seed: int = 0,
) -> dict[str, jax.Array]:
    """Alternate between users and items, starting from random item vectors.

    Args:
      train_sequences: one int array per user.
      num_items: I.
      width: D.
      alpha: α > 0.
      regularization: λ > 0.
      iterations: number of times that users and then items are solved.
      seed: determines the initial item vectors.

    Returns:
      {"items": float32 [I, D], "gram": float32 [D, D], Σ_i y_i y_iᵀ, "alpha" and
      "regularization": float32 scalars}.

    Raises:
      ConfigError: a setting is out of range.
      DataError: an item is outside 0..I-1, or there are no interactions.

    Example:
      >>> import numpy as np
      >>> from jaxrec.baselines import mf_als
      >>> histories = [np.array([0, 1]), np.array([0, 1]), np.array([2, 3]), np.array([2, 3])]
      >>> params = mf_als.fit(histories, num_items=4, width=2, regularization=0.1)
      >>> scores = mf_als.scores(params, {"history": np.array([[0]])})
      >>> bool(scores[0, 1] > scores[0, 2])
      True
    """
    if min(width, iterations) < 1 or not min(alpha, regularization) > 0:
        raise ConfigError(
            f"width {width} and iterations {iterations} must be at least 1, and alpha {alpha} and "
            f"regularization {regularization} must be above 0"
        )
    user, item, _ = flatten(train_sequences, num_items)
    users = _Rows(user, item, len(train_sequences), width)
    items = _Rows(item, user, num_items, width)
    settings = jnp.float32(alpha), jnp.float32(regularization)
    y = 0.1 * jax.random.normal(jax.random.key(seed), (num_items, width), jnp.float32)
    for _ in range(iterations):
        x = users.solve(y, *settings)
        y = items.solve(x, *settings)
    names = ("items", "gram", "alpha", "regularization")
    return dict(zip(names, (y, gram(y), *settings), strict=True))


class _Rows:
    """The entries of a sparse matrix by row, in batches of rows of similar length."""

    def __init__(self, row: np.ndarray, column: np.ndarray, rows: int, width: int) -> None:
        order = np.argsort(row, kind="stable")
        column, counts = column[order], np.bincount(row, minlength=rows)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        by_length = np.argsort(counts, kind="stable")
        self.batches = []
        while len(by_length):
            # Longest rows first. Lengths are rounded up because each shape costs a compilation.
            longest = 1 << int(max(counts[by_length[-1]] - 1, 7)).bit_length()
            size = max(1, min(1024, _GATHERED // (longest * width)))
            chosen, by_length = by_length[-size:], by_length[:-size]
            entries = np.full((size, longest), -1, np.int32)
            for place, r in enumerate(chosen):
                entries[place, : counts[r]] = column[offsets[r] : offsets[r + 1]]
            self.batches.append((chosen, entries))
        self.rows = rows

    def solve(self, fixed: jax.Array, alpha: jax.Array, regularization: jax.Array) -> jax.Array:
        """Vectors of all rows, given those of the columns: `[columns, D]` to `[rows, D]`."""
        vectors = jnp.zeros((self.rows, fixed.shape[1]), jnp.float32)
        products = gram(fixed)
        for chosen, entries in self.batches:
            solved = solve(fixed, products, entries, alpha, regularization)
            vectors = vectors.at[chosen].set(solved[: len(chosen)])
        return vectors


@jax.jit
def gram(y: jax.Array) -> jax.Array:
    """Σ_i y_i y_iᵀ: `[I, D]` to `[D, D]`."""
    return jnp.matmul(y.T, y, precision="highest")


@jax.jit
def solve(
    y: jax.Array,
    products: jax.Array,
    entries: jax.Array,
    alpha: jax.Array,
    regularization: jax.Array,
) -> jax.Array:
    """x_u = (YᵀY + Yᵀ(C_u - 1)Y + λ1)⁻¹ Yᵀ C_u p_u of each row, exactly (equation 4).

    Args:
      y: `[I, D]`.
      products: YᵀY, `[D, D]`.
      entries: `[B, H]` int32, the items that a row met, in any order, -1 in unused places. An item
        that occurs r times was met r times.
      alpha: α.
      regularization: λ.

    Returns:
      `[B, D]`; zeros for a row without items.
    """
    entries = jnp.asarray(entries)
    # What is no row of y counts as an unused place.
    entries = jnp.sort(jnp.where(entries < y.shape[0], entries, -1), axis=1)
    met = (entries >= 0).astype(jnp.float32)
    first = jnp.pad(entries[:, 1:] != entries[:, :-1], ((0, 0), (1, 0)), constant_values=True)
    rows = y[jnp.maximum(entries, 0)] * met[:, :, None]  # [B, H, D]
    # Σ_i (c_i - 1) y_i y_iᵀ adds α y yᵀ for every time that an item was met.
    more = jnp.einsum("bhd,bhe->bde", rows, rows, precision="highest")
    left = products[None] + alpha * more + regularization * jnp.eye(y.shape[1])[None]
    # c_i p_i = 1 + α r_i: 1 for the first time, and α for every time.
    right = jnp.einsum("bhd,bh->bd", rows, alpha + first.astype(jnp.float32), precision="highest")
    factor = jax.scipy.linalg.cho_factor(left)
    return jax.scipy.linalg.cho_solve(factor, right[:, :, None])[:, :, 0]


def scores(
    params: Mapping[str, np.ndarray | jax.Array], batch: Mapping[str, np.ndarray | jax.Array]
) -> jax.Array:
    """x_u · y_i, with x_u computed from the history.

    Args:
      params: returned by `fit`.
      batch: "history", int [B, H], padded with -1.

    Returns:
      float32 [B, I]; zeros for an empty history.

    Raises:
      DataError: an item outside the catalogue.
    """
    items = jnp.asarray(params["items"])
    check_numbers(batch["history"], len(items), "items of a history")
    x = solve(
        items,
        jnp.asarray(params["gram"]),
        batch["history"],
        jnp.asarray(params["alpha"]),
        jnp.asarray(params["regularization"]),
    )
    return jnp.matmul(x, items.T, precision="highest")
