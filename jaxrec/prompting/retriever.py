"""A retriever of demonstrations that is trained on what the model finds useful.

    examples -> recalled by BM25 -> scored by the model -> positives, negatives -> two towers

Rubin et al. 2022, "EPR", arXiv:2112.08633: for each example of the pool, BM25 recalls 50 others,
and the model scores each of them by the probability of the example's answer after it. The best five
are positives and the last five are negatives. Two towers learn to tell them apart; they need no
answer at test time. The paper's towers are BERT, and here each is a linear map of fixed text
vectors. Of the hard negatives of a batch, each query sees only its own.

Shapes: N demonstrations of the pool, M examples of a batch, F features, D width of the vectors.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError, Count, DataError, LearningRate, Positive, Seed, check_ranges
from jaxrec.objectives import info_nce
from jaxrec.prompting.demonstrations import Demonstration, Verbalizer, normal_input
from jaxrec.prompting.informativeness import gains
from jaxrec.prompting.language_model import LanguageModel
from jaxrec.prompting.selection import bm25_scores, select

Encode = Callable[[Sequence[str]], np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RetrieverOptions:
    """How a retriever is trained.

    Attributes:
      recall: demonstrations that BM25 recalls for each example, for the model to score.
      positives: number of the best ones that are positives.
      negatives: number of the last ones that are negatives.
      width: D.
      temperature: τ that the cosines are divided by.
      epochs: passes over the pool.
      batch_size: M.
      lr: learning rate of Adam.
      seed: seed of the first parameters, the order and the draws of positives and negatives.

    Raises:
      ConfigError: a value out of range, or fewer recalled than positives and negatives.
    """

    recall: Count = 50
    positives: Count = 5
    negatives: Count = 5
    width: Count = 64
    temperature: Positive = 0.1
    epochs: Count = 120
    batch_size: Count = 32
    lr: LearningRate = 1e-2
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_ranges(self, "")
        if self.recall < self.positives + self.negatives:
            raise ConfigError(
                f"recall is {self.recall}, fewer than {self.positives} positives and "
                f"{self.negatives} negatives together; raise it"
            )


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Retriever:
    """Two towers over a pool; calling it scores the pool, as `select` asks.

    Attributes:
      encode: maps texts to F features.
      query: `[F, D]` float32, the tower of queries.
      pool: `[N, D]` float32 unit vectors of the demonstrations.
      losses: mean loss of each epoch.
    """

    encode: Encode
    query: np.ndarray
    pool: np.ndarray
    losses: tuple[float, ...]

    def __call__(self, queries: Sequence[str]) -> np.ndarray:
        """Return the cosines of queries and demonstrations, `[B, N]`."""
        features = _features(self.encode, queries)
        return np.asarray(_unit(jnp.asarray(features @ self.query))) @ self.pool.T


def train_retriever(
    model: LanguageModel,
    verbalizer: Verbalizer,
    pool: Sequence[Demonstration],
    encode: Encode,
    options: RetrieverOptions | None = None,
) -> Retriever:
    r"""Train a retriever on a pool of demonstrations with their answers.

    Args:
      model: scores the answers.
      verbalizer: writes the task. The tower of the pool reads demonstrations as it writes them, and
        the other one reads inputs.
      pool: N demonstrations, which are the training examples too. An example is never recalled for
        an example with the same input.
      encode: maps texts to vectors, such as `tfidf_vectors(...)` or `SentenceEncoder.encode`.
      options: how to train; None for the defaults.

    Returns:
      A scorer for `select` with the same pool.

    Raises:
      ConfigError: a pool that is smaller than what is recalled, or `bm25s` is not installed.
      DataError: vectors that are not finite or of another shape.

    Cost: N `recall` prompts with one demonstration each.

    Example:
      >>> from jaxrec.prompting import ScriptedModel, tfidf_vectors
      >>> pool = [Demonstration(f"word{n % 3} number{n}", str(n % 3)) for n in range(9)]
      >>> copies = ScriptedModel(
      ...     logprob=lambda prompt, answer: -0.1 if f"->{answer}" in prompt else -3.0
      ... )
      >>> options = RetrieverOptions(recall=8, positives=2, negatives=2, epochs=2)
      >>> encode = tfidf_vectors([d.input for d in pool])
      >>> f = Verbalizer(query="{input} ->", separator="\n")
      >>> train_retriever(copies, f, pool, encode, options)(["word1 number5"]).shape
      (1, 9)
    """
    options = RetrieverOptions() if options is None else options
    best, last = score_recalled(model, verbalizer, pool, options)
    queries = _features(encode, [shown.input for shown in pool])
    shown = _features(encode, [verbalizer.demonstration(shown) for shown in pool])
    if shown.shape != queries.shape:
        raise DataError(
            f"encode gave vectors of {queries.shape[1]} and of {shown.shape[1]} numbers; all texts "
            "need vectors of one length"
        )
    towers, losses = _fit(queries, shown, best, last, options)
    return Retriever(
        encode=encode,
        query=np.asarray(towers["query"]),
        pool=np.asarray(_unit(jnp.asarray(shown) @ towers["pool"])),
        losses=tuple(losses),
    )


def score_recalled(
    model: LanguageModel,
    verbalizer: Verbalizer,
    pool: Sequence[Demonstration],
    options: RetrieverOptions,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the positives and negatives of each example of a pool.

    Returns:
      `[N, positives]`, the best first, and `[N, negatives]`, the worst first: numbers of the pool.

    Raises:
      ConfigError: a pool that is smaller than what is recalled.
    """
    inputs = [shown.input for shown in pool]
    names = [normal_input(text) for text in inputs]
    most = max((names.count(name) for name in set(names)), default=0)
    if len(pool) - most < options.recall:
        raise ConfigError(
            f"recall is {options.recall}, and the pool has {len(pool) - most} demonstrations that "
            "are not the example itself; lower recall or add demonstrations"
        )
    recalled = select(pool, bm25_scores(inputs), inputs, options.recall)
    values = gains(model, verbalizer, [[pool[n] for n in row] for row in recalled], pool)
    order = np.argsort(-np.array(values), axis=1, kind="stable")
    ranked = np.take_along_axis(np.array(recalled), order, axis=1)
    return ranked[:, : options.positives], ranked[:, ::-1][:, : options.negatives]


def _fit(
    queries: np.ndarray,
    shown: np.ndarray,
    best: np.ndarray,
    last: np.ndarray,
    options: RetrieverOptions,
) -> tuple[Any, list[float]]:
    """Train both towers by InfoNCE; returns them and the mean loss of each epoch."""
    import optax

    features = queries.shape[1]
    # Towers that begin alike compare the fixed vectors, as far as a random projection keeps angles.
    first = jax.random.normal(jax.random.key(options.seed), (features, options.width))
    towers = {"query": first, "pool": first}
    optimizer = optax.adam(options.lr)
    state = optimizer.init(towers)

    def loss(towers: Any, batch: Any) -> jax.Array:
        query = _unit(batch["query"] @ towers["query"]) / options.temperature
        positive = _unit(batch["positive"] @ towers["pool"])
        negative = _unit(batch["negative"] @ towers["pool"])
        counts = jnp.ones(len(query), bool)
        return info_nce(query, positive, batch["number"], counts, negative).mean()

    @jax.jit
    def step(towers: Any, state: Any, batch: Any) -> tuple[Any, Any, jax.Array]:
        value, gradient = jax.value_and_grad(loss)(towers, batch)
        with jax.numpy_dtype_promotion("standard"):  # Optax needs it
            update, state = optimizer.update(gradient, state, towers)
        return optax.apply_updates(towers, update), state, value

    rng = np.random.default_rng(options.seed)
    size, losses = min(options.batch_size, len(queries)), []
    for _ in range(options.epochs):
        order, values = rng.permutation(len(queries)), []
        # Examples left over by the last whole batch have their turn in another epoch.
        for rows in order[: len(order) // size * size].reshape(-1, size):
            positive = best[rows, rng.integers(best.shape[1], size=size)]
            negative = last[rows, rng.integers(last.shape[1], size=size)]
            batch = {
                "query": queries[rows],
                "positive": shown[positive],
                "negative": shown[negative],
                "number": positive,
            }
            towers, state, value = step(towers, state, batch)
            values.append(value)
        losses.append(float(np.mean(jax.device_get(values))))
    return towers, losses


def _features(encode: Encode, texts: Sequence[str]) -> np.ndarray:
    vectors = np.asarray(encode(texts), np.float32)
    if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
        raise DataError(
            f"encode must give one finite vector to each of {len(texts)} texts, got the shape "
            f"{vectors.shape}"
        )
    return vectors


def _unit(vectors: jax.Array) -> jax.Array:
    # The small term keeps the gradient of a zero vector finite.
    return vectors * jax.lax.rsqrt(jnp.sum(vectors**2, axis=-1, keepdims=True) + 1e-12)
