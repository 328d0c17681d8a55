"""RQ-VAE: residual quantization in the latent space of an autoencoder, trained together with it.

    z = encoder(x)    r_0 = z    c_l = argmin_k ||r_l - e_l(k)||    r_{l+1} = r_l - e_l(c_l)
    q = sum_l e_l(c_l)           y = decoder(z + sg(q - z))

    loss = ||x - y||^2 + sum_l ||sg(r_l) - e_l(c_l)||^2 + beta ||r_l - sg(e_l(c_l))||^2

summed over columns and averaged over the batch. sg stops gradients, so the reconstruction's
gradient passes straight through q to the encoder, and codebooks learn only from the second term.
The autoencoder first trains without codebooks, because an untrained encoder moves so fast that
codes lose their clusters. Then codebooks start from residual k-means of a batch, and everything
trains together. A code that no item has chosen for a while is reset to a residual of the current
batch.

Sources: Zeghidour et al., "SoundStream", 2021 (residual codebooks, k-means start, dead codes); Lee
et al., "Autoregressive Image Generation using Residual Quantization", 2022; as item IDs: Rajput et
al., "Recommender Systems with Generative Retrieval" (TIGER), 2023, section 3.1 (beta 0.25, latent
width 32).

Shapes: `I` items, `B` batch, `D` vector width, `Z` latent width, `L` levels, `C` codes per level.
"""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrec.core import (
    LOCAL,
    ConfigError,
    Count,
    Engine,
    LearningRate,
    NotNegative,
    Whole,
    check_ranges,
)
from jaxrec.ids.assignment import assign
from jaxrec.ids.codes import ItemCodes, level_sizes, quantized_levels
from jaxrec.ids.kmeans import check_vectors, fit_centroids, nearest, squared_distances
from jaxrec.ids.statistics import code_statistics, warn_collapsed

# No code is reset in the last fifth of the training, so that codebooks and encoder settle.
_RESEED_UNTIL = 0.8

Layers = tuple[tuple[Any, Any], ...]  # weights [in, out] and bias [out] of each layer


@dataclasses.dataclass(frozen=True, kw_only=True)
class RqVaeConfig:
    """Architecture and training of the autoencoder.

    Attributes:
      latent: Z, width of the quantized vectors, at most the width of the item vectors.
      hidden: widths of the encoder's hidden layers; the decoder has them in reverse.
      warmup: number of first steps, which train without codebooks.
      steps: number of steps with codebooks.
      batch_size: B, at most the number of items.
      learning_rate: learning rate of Adam for all parameters.
      commitment: beta, weight of the term that keeps the encoder close to its codes.
      reseed_every: number of steps after which unused codes are reset; 0 for never.

    Raises:
      ConfigError: a number is out of range.

    Example:
      >>> RqVaeConfig(latent=8, steps=100).hidden
      (128,)
    """

    latent: Count = 32
    hidden: tuple[Count, ...] = (128,)
    warmup: Whole = 500
    steps: Count = 4000
    batch_size: Count = 512
    learning_rate: LearningRate = 3e-3
    commitment: NotNegative = 0.25
    reseed_every: Whole = 50

    def __post_init__(self) -> None:
        """Reject numbers with which no model can be built."""
        check_ranges(self, "--ids.rqvae.")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Params:
    """Parameters of the autoencoder and its codebooks.

    Attributes:
      encoder: layers from width D to Z.
      decoder: layers from width Z to D.
      books: L codebooks [C_l, Z].
    """

    encoder: Layers
    decoder: Layers
    books: tuple[Any, ...]


def fit(
    vectors: np.ndarray,
    levels: int,
    size: int | Sequence[int],
    *,
    config: RqVaeConfig = RqVaeConfig(),
    seed: int = 0,
    engine: Engine = LOCAL,
) -> ItemCodes:
    """Train on vectors [I, D] and return their codes; IDs may collide, which `ids.repair` repairs.

    Equal input and seed give equal codes on the same kind of machine.

    Args:
      vectors: item vectors [I, D].
      levels: L.
      size: codes per level, one number or one number per level.
      config: architecture and training.
      seed: seed of every random draw.
      engine: what assigns codes to rows; the training is here.

    Raises:
      ConfigError: a size is invalid.
      DataError: the vectors are not a finite matrix.
    """
    vectors, sizes = check_vectors(vectors), level_sizes(levels, size)
    mean = vectors.mean(axis=0)
    spread = float(np.sqrt(((vectors - mean) ** 2).mean())) or 1.0
    x = ((vectors - mean) / spread).astype(np.float32)
    rng = np.random.default_rng(seed)
    params = _init(rng, x.shape[1], min(config.latent, x.shape[1]), config.hidden)
    config = dataclasses.replace(config, batch_size=min(config.batch_size, len(x)))
    warm_key, key = jax.random.split(jax.random.key(seed))
    if config.warmup:
        params, _ = _train(params, x, warm_key, config=config, steps=config.warmup)
    batch = x[rng.permutation(len(x))[: config.batch_size]]
    books = _first_books(_mlp(_on_host(params.encoder), batch), sizes, seed)
    params = dataclasses.replace(params, books=books)
    params, losses = _train(params, x, key, config=config, steps=config.steps)
    codebooks: dict[str, np.ndarray] = {"mean": mean, "spread": np.array(spread)}
    for name in ("encoder", "decoder"):
        for layer, (w, b) in enumerate(_on_host(getattr(params, name))):
            codebooks[f"{name}_w_{layer}"], codebooks[f"{name}_b_{layer}"] = w, b
    for level, book in enumerate(params.books):
        codebooks[f"centroids_{level}"] = np.asarray(book)
    empty = ItemCodes(
        codes=np.zeros((1, levels), np.int32),
        sizes=sizes,
        scheme="rqvae",
        metadata={},
        codebooks=codebooks,
    )
    codes = encode(empty, vectors, engine)
    statistics = code_statistics(codes, sizes)
    warn_collapsed(statistics)
    error = ((vectors - decode(empty, codes)) ** 2).sum() / max(
        ((vectors - mean) ** 2).sum(), 1e-30
    )
    metadata = {
        "seed": seed,
        "width": vectors.shape[1],
        "distortion": float(error),
        "loss": [float(losses[: 1 + len(losses) // 100].mean()), float(losses[-20:].mean())],
        "config": {**dataclasses.asdict(config), "hidden": list(config.hidden)},
    }
    return ItemCodes(
        codes=codes,
        sizes=sizes,
        scheme="rqvae",
        metadata={**metadata, **statistics},
        codebooks=codebooks,
    )


def encode(item_codes: ItemCodes, vectors: np.ndarray, engine: Engine = LOCAL) -> np.ndarray:
    """Return codes, int32 [I', L], of new vectors [I', D] under the trained encoder and codebooks.

    L is the number of quantized levels: a suffix that `ids.repair` added has no codebook. The
    `engine` assigns codes to rows.

    Raises:
      ConfigError: the vectors have another width.
      DataError: the vectors are not a finite matrix.
    """
    residual, codes = _latent(item_codes, vectors), []
    for level in range(quantized_levels(item_codes)):
        book = item_codes.codebooks[f"centroids_{level}"]
        codes.append(assign(residual, book, engine))
        residual = residual - book[codes[-1]]
    return np.stack(codes, axis=1)


def decode(item_codes: ItemCodes, codes: np.ndarray) -> np.ndarray:
    """Return the vectors, float64 [I', D], that the codes [I', L] represent."""
    books = item_codes.codebooks
    parts = [books[f"centroids_{l}"][codes[:, l]] for l in range(quantized_levels(item_codes))]
    quantized = np.sum(parts, axis=0, dtype=np.float32)
    return _mlp(_layers(books, "decoder"), quantized) * books["spread"] + books["mean"]


def level_costs(item_codes: ItemCodes, vectors: np.ndarray) -> list[np.ndarray]:
    """Return L arrays [I', C_l]: squared latent distance of each residual to each centroid.

    Residuals are those of the nearest codes, as in `rq.level_costs`.
    """
    residual, costs = _latent(item_codes, vectors), []
    for level in range(quantized_levels(item_codes)):
        book = item_codes.codebooks[f"centroids_{level}"]
        costs.append(squared_distances(residual, book))
        residual = residual - book[costs[-1].argmin(axis=1)]
    return costs


def straight_through(z: jax.Array, q: jax.Array) -> jax.Array:
    """Return q in the forward pass with the gradient of z: z + sg(q - z)."""
    return z + lax.stop_gradient(q - z)


def loss(
    params: Params, x: jax.Array, beta: float
) -> tuple[jax.Array, tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]]:
    """Return the loss of a batch [B, D], and the codes [B] and residuals [B, Z] of each level.

    Without codebooks it is the loss of a plain autoencoder.
    """
    z = _mlp(params.encoder, x)
    residual, q = z, jnp.zeros_like(z)
    terms, codes, residuals = jnp.float32(0), [], []
    for book in params.books:
        # ||r||^2 is the same for all codes: [B, Z] x [C, Z] -> [B, C]
        cross = jnp.einsum("bz,cz->bc", residual, book)
        code = _argmin((book**2).sum(axis=1)[None] - 2 * cross)
        chosen = book[code]
        terms += _squares(lax.stop_gradient(residual) - chosen)
        terms += beta * _squares(residual - lax.stop_gradient(chosen))
        codes.append(code)
        residuals.append(residual)
        residual = residual - lax.stop_gradient(chosen)
        q = q + lax.stop_gradient(chosen)
    y = _mlp(params.decoder, straight_through(z, q) if params.books else z)
    return _squares(x - y) + terms, (tuple(codes), tuple(residuals))


@functools.partial(jax.jit, static_argnames=("config", "steps"))
def _train(
    params: Params, x: Any, key: jax.Array, *, config: RqVaeConfig, steps: int
) -> tuple[Params, jax.Array]:
    """Train on all vectors [I, D]; return the parameters and the loss of each step [steps]."""
    import optax

    optimizer = optax.adam(config.learning_rate)
    last = int(_RESEED_UNTIL * steps)

    def step(carry: Any, number: jax.Array) -> tuple[Any, jax.Array]:
        params, state, unused = carry
        rows_key, *book_keys = jax.random.split(
            jax.random.fold_in(key, number), 1 + len(params.books)
        )
        rows = jax.random.randint(rows_key, (config.batch_size,), 0, x.shape[0])
        (value, (codes, residuals)), gradient = jax.value_and_grad(loss, has_aux=True)(
            params, x[rows], config.commitment
        )
        # Optax raises floats to integer powers, which strict promotion rejects.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        unused = tuple(u.at[code].set(False) for u, code in zip(unused, codes, strict=True))
        if config.reseed_every:
            due = ((number + 1) % config.reseed_every == 0) & (number < last)
            books = []
            for book, u, r, k in zip(params.books, unused, residuals, book_keys, strict=True):
                drawn = r[jax.random.randint(k, (book.shape[0],), 0, r.shape[0])]
                books.append(jnp.where((due & u)[:, None], drawn, book))
            params = dataclasses.replace(params, books=tuple(books))
            unused = tuple(u | due for u in unused)
        return (params, state, unused), value

    unused = tuple(jnp.ones(book.shape[0], bool) for book in params.books)
    carry = (params, optimizer.init(params), unused)
    (params, _, _), losses = lax.scan(step, carry, jnp.arange(steps, dtype=jnp.int32))
    return params, losses


def _init(rng: np.random.Generator, width: int, latent: int, hidden: tuple[int, ...]) -> Params:
    """Return layers with normal weights of variance 2 / inputs (He et al., 2015), no codebooks."""

    def layers(*widths: int) -> Layers:
        return tuple(
            (
                rng.normal(0.0, (2 / i) ** 0.5, (i, o)).astype(np.float32),
                np.zeros(o, np.float32),
            )
            for i, o in itertools.pairwise(widths)
        )

    return Params(layers(width, *hidden, latent), layers(latent, *hidden[::-1], width), ())


def _first_books(latent: np.ndarray, sizes: Sequence[int], seed: int) -> tuple[np.ndarray, ...]:
    """Run residual k-means on latent vectors [B, Z]; return L codebooks, float32 [C_l, Z]."""
    rng, books, residual = np.random.default_rng(seed), [], np.asarray(latent, np.float64)
    for level, size in enumerate(sizes):
        book = fit_centroids(residual, size, seed + level, restarts=3, iterations=20)
        if len(book) < size:
            # If there are fewer distinct vectors than codes, the spare codes start near residuals.
            extra = residual[rng.integers(0, len(residual), size - len(book))]
            noise = rng.normal(0.0, 0.01 * residual.std(), extra.shape)
            book = np.concatenate([book, extra + noise])
        residual = residual - book[nearest(residual, book)]
        books.append(book.astype(np.float32))
    return tuple(books)


def _latent(item_codes: ItemCodes, vectors: np.ndarray) -> np.ndarray:
    """Return the latent vectors, float32 [I', Z], of vectors [I', D]."""
    books, vectors = item_codes.codebooks, check_vectors(vectors)
    if vectors.shape[1] != len(books["mean"]):
        raise ConfigError(
            f"the codebooks code vectors of width {len(books['mean'])}, got width "
            f"{vectors.shape[1]}; make the vectors like those of the fit"
        )
    x = ((vectors - books["mean"]) / books["spread"]).astype(np.float32)
    return _mlp(_layers(books, "encoder"), x)


def _on_host(layers: Layers) -> Layers:
    return tuple((np.asarray(w), np.asarray(b)) for w, b in layers)


def _layers(books: dict[str, np.ndarray], name: str) -> Layers:
    count = sum(key.startswith(f"{name}_w_") for key in books)
    return tuple((books[f"{name}_w_{i}"], books[f"{name}_b_{i}"]) for i in range(count))


def _mlp(layers: Layers, x: Any) -> Any:
    """Apply layers with ReLU between them, on numpy or JAX arrays: [B, in] to [B, out]."""
    for w, b in layers[:-1]:
        x = (x @ w + b[None]).clip(0)
    w, b = layers[-1]
    return x @ w + b[None]


def _argmin(rows: jax.Array) -> jax.Array:
    """Return the first position of the minimum of each row [B, C], int32 [B].

    On CPUs XLA computes argmin one entry at a time; two plain minima take a third of the time.
    """
    place = lax.broadcasted_iota(jnp.int32, rows.shape, 1)
    least = rows.min(axis=1, keepdims=True)
    return jnp.where(rows == least, place, rows.shape[1]).min(axis=1)


def _squares(x: jax.Array) -> jax.Array:
    """Return the mean squared length of the rows [B, D]."""
    return (x**2).sum(axis=1).mean()
