"""Predictors of a match from vectors of a resume, a job and generated descriptions.

With c the vector of the resume, j that of the job and j' the mean of those of the descriptions:

    mlp   base MLP([c; j])    enhanced MLP([c; j; j'])
    dot   base c · j          enhanced c' · j with c' = MLP([c; j'])

A residual predictor adds the products of the vectors, weighted by a logistic regression, so that
little data must only teach its network what they do not say. Vectors of several blocks have a
weight for each block:

    mlp   a (c · j) + b (j' · j) + MLP([c; j; j'])
    dot   c' · j with c' = a c + b j' + MLP([c; j'])

All trainings of a predictor, which differ in their seed, run as one program.

Shapes: `U` people, `J` jobs, `N` rows, `S` seeds, `D` width of a vector.
"""

import dataclasses
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from sklearn.linear_model import LogisticRegression

from jaxrec.core import DataError
from jaxrec.systems.girl.blocks import slices_of
from jaxrec.systems.girl.config import MatchConfig


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """Pairs of a person and a job.

    Attributes:
      person: `[N]` int32.
      job: `[N]` int32.
      label: `[N]` float32, 1 for a match.
    """

    person: np.ndarray
    job: np.ndarray
    label: np.ndarray

    def __len__(self) -> int:
        return len(self.label)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Vectors:
    """What predictors read.

    Attributes:
      people: `[U, D]` of the resumes.
      jobs: `[J, D]`.
      written: `[U, D]`, of the descriptions that were generated for each person; None for none.
      blocks: widths of the blocks of a vector, which add up to D; () for one block.
    """

    people: np.ndarray
    jobs: np.ndarray
    written: np.ndarray | None = None
    blocks: tuple[int, ...] = ()


class Scorer(nn.Module):
    """Logits of a match.

    Attributes:
      kind: "mlp" reads everything at once; "dot" makes a vector of the person, whose product with
        that of the job is the logit.
      hidden: width of the hidden layer.
      dropout: rate on inputs and hidden layer.
      residual: whether the weighted products of person and job, and of description and job, are
        added. The network begins as zero then, and the weights as `fit_products` finds them.
      blocks: widths of the blocks of a vector; () for one block.
    """

    kind: Literal["mlp", "dot"]
    hidden: int
    dropout: float
    residual: bool = False
    blocks: tuple[int, ...] = ()

    @nn.compact
    def __call__(
        self,
        person: jax.Array,
        job: jax.Array,
        written: jax.Array | None,
        deterministic: bool = True,
    ) -> jax.Array:
        """Map `[N, D]` vectors to `[N]` logits."""
        parts = [person] + ([job] if self.kind == "mlp" else [])
        parts += [] if written is None else [written]
        x = nn.Dropout(self.dropout, deterministic=deterministic)(jnp.concatenate(parts, axis=1))
        x = nn.gelu(nn.Dense(self.hidden, name="hidden")(x))
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        width = 1 if self.kind == "mlp" else job.shape[1]
        zeros, usual = nn.initializers.zeros_init(), nn.initializers.lecun_normal()
        x = nn.Dense(width, name="out", kernel_init=zeros if self.residual else usual)(x)
        score = x[:, 0] if self.kind == "mlp" else scaled_dot(x, job)
        if not self.residual:
            return score
        products = products_of(person, job, written, self.blocks)
        return score + nn.Dense(1, name="products", kernel_init=zeros)(products)[:, 0]


def products_of(
    person: jax.Array, job: jax.Array, written: jax.Array | None, blocks: tuple[int, ...] = ()
) -> jax.Array:
    """The products of jobs with persons and, if there are any, descriptions, block by block.

    Returns:
      `[N, P]`, where P is the number of blocks, or twice that with descriptions.
    """
    places = slices_of(blocks or job.shape[1:])
    given = [person] if written is None else [person, written]
    return jnp.stack(
        [scaled_dot(vector[:, one], job[:, one]) for vector in given for one in places], axis=1
    )


def scaled_dot(a: jax.Array, b: jax.Array) -> jax.Array:
    """The product of vectors `[N, D]` over the root of D: `[N]`."""
    return (a * b).sum(axis=1) / jnp.sqrt(jnp.float32(a.shape[1]))


def log_loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The mean negative log-likelihood of labels `[N]` in nats.

    Example:
      >>> round(float(log_loss(jnp.zeros(2), jnp.array([0.0, 1.0]))), 4)
      0.6931
    """
    return optax.sigmoid_binary_cross_entropy(logits, labels).mean()


def fit_products(vectors: Vectors, rows: Rows) -> dict[str, jax.Array]:
    """Fit the weights of the products of a residual predictor by logistic regression.

    Args:
      vectors: what it reads.
      rows: at least one of each label.

    Returns:
      "kernel" `[P, 1]` and "bias" `[1]` of scikit-learn's fit without regularization.
    """
    products = np.asarray(products_of(*_inputs(_tables(vectors), _arrays(rows)), vectors.blocks))
    found = LogisticRegression(C=np.inf).fit(products, rows.label > 0)
    return {
        "kernel": jnp.asarray(found.coef_.T, jnp.float32),
        "bias": jnp.asarray(found.intercept_, jnp.float32),
    }


def fit_scorer(
    scorer: Scorer, config: MatchConfig, vectors: Vectors, train: Rows, valid: Rows, seed: int
) -> Any:
    """Train a predictor with several seeds, and keep the epoch with the lowest validation loss.

    A residual predictor may keep its beginning, the weighted products alone.

    Args:
      scorer: the network.
      config: of the training.
      vectors: what it reads.
      train: rows to learn.
      valid: rows that choose the epoch.
      seed: of all trainings, each of which has a key of its own.

    Returns:
      Parameters with a leading axis S.

    Raises:
      DataError: fewer rows than a batch, or rows of one label alone.
    """
    check_rows(train, "training")
    check_rows(valid, "validation")
    if len(train) < config.batch_size:
        raise DataError(
            f"the recommendation has {len(train)} training rows, fewer than --match.batch-size "
            f"{config.batch_size}; lower it, or give more people"
        )
    tables = _tables(vectors)
    keys = jax.random.split(jax.random.key(seed), config.seeds)
    products = fit_products(vectors, train) if scorer.residual else None
    return _fit(scorer, config, tables, _arrays(train), _arrays(valid), keys, products)


def check_rows(rows: Rows, what: str) -> None:
    """Reject rows on which nothing can be measured.

    Raises:
      DataError: the rows have one label alone, or there are none.
    """
    kinds = np.unique(rows.label)
    if len(kinds) < 2:
        raise DataError(
            f"the {what} rows of the recommendation have {len(rows)} rows and the labels "
            f"{kinds.tolist()}; both labels are needed, so give more people or matches"
        )


@functools.partial(jax.jit, static_argnums=(0, 1))
def _fit(
    scorer: Scorer,
    config: MatchConfig,
    tables: Any,
    train: Any,
    valid: Any,
    keys: jax.Array,
    products: Any,
) -> Any:
    steps = len(train["label"]) // config.batch_size
    optimizer = optax.adamw(config.lr, weight_decay=config.weight_decay)

    def one_seed(key: jax.Array) -> Any:
        first, order_key = jax.random.split(key)
        example = {name: rows[:2] for name, rows in train.items()}
        params = scorer.init(first, *_inputs(tables, example))
        lowest = jnp.float32(jnp.inf)
        if products is not None:
            params = {"params": {**params["params"], "products": products}}
            lowest = log_loss(scorer.apply(params, *_inputs(tables, valid)), valid["label"])

        def loss(params: Any, rows: Any, key: jax.Array) -> jax.Array:
            logits = scorer.apply(params, *_inputs(tables, rows), False, rngs={"dropout": key})
            return log_loss(logits, rows["label"])

        def step(carry: Any, given: Any) -> Any:
            params, state = carry
            chosen, key = given
            rows = {name: jnp.take(cells, chosen, axis=0) for name, cells in train.items()}
            gradient = jax.grad(loss)(params, rows, key)
            with jax.numpy_dtype_promotion("standard"):  # Optax needs it
                changes, state = optimizer.update(gradient, state, params)
            return (optax.apply_updates(params, changes), state), None

        def epoch(carry: Any, key: jax.Array) -> Any:
            params, state, best, lowest = carry
            shuffle, drop = jax.random.split(key)
            order = jax.random.permutation(shuffle, len(train["label"]))
            batches = order[: steps * config.batch_size].reshape(steps, config.batch_size)
            (params, state), _ = jax.lax.scan(
                step, (params, state), (batches, jax.random.split(drop, steps))
            )
            measured = log_loss(scorer.apply(params, *_inputs(tables, valid)), valid["label"])
            better = measured < lowest
            best = jax.tree.map(lambda new, old: jnp.where(better, new, old), params, best)
            return (params, state, best, jnp.minimum(measured, lowest)), None

        begin = (params, optimizer.init(params), params, lowest)
        (_, _, best, _), _ = jax.lax.scan(epoch, begin, jax.random.split(order_key, config.epochs))
        return best

    return jax.vmap(one_seed)(keys)


def score_rows(scorer: Scorer, params: Any, vectors: Vectors, rows: Rows) -> np.ndarray:
    """Return the logits of rows under every seed: `[S, N]` float32."""
    return np.asarray(_score(scorer, params, _tables(vectors), _arrays(rows)))


@functools.partial(jax.jit, static_argnums=0)
def _score(scorer: Scorer, params: Any, tables: Any, rows: Any) -> jax.Array:
    return jax.vmap(lambda own: scorer.apply(own, *_inputs(tables, rows)))(params)


def raw_dot(vectors: Vectors, rows: Rows) -> np.ndarray:
    """The logits c · j of the untrained base: `[N]` float32."""
    return np.asarray(
        scaled_dot(jnp.asarray(vectors.people[rows.person]), jnp.asarray(vectors.jobs[rows.job]))
    )


def _tables(vectors: Vectors) -> dict[str, jax.Array]:
    found = {"people": vectors.people, "jobs": vectors.jobs}
    if vectors.written is not None:
        found["written"] = vectors.written
    return {name: jnp.asarray(table, jnp.float32) for name, table in found.items()}


def _arrays(rows: Rows) -> dict[str, jax.Array]:
    return {
        "person": jnp.asarray(rows.person, jnp.int32),
        "job": jnp.asarray(rows.job, jnp.int32),
        "label": jnp.asarray(rows.label, jnp.float32),
    }


def _inputs(tables: Any, rows: Any) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    person, job = jnp.take(tables["people"], rows["person"], 0), rows["job"]
    written = tables.get("written")
    given = None if written is None else jnp.take(written, rows["person"], 0)
    return person, jnp.take(tables["jobs"], job, 0), given
