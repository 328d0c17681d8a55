"""What the neural sequential baselines share: settings, objective, training and scoring.

A baseline is a body (a Flax module from item vectors to states) and its settings, a subclass of
`SequentialConfig` that builds the body. Every state is trained to score the item that follows.

Shapes: `B` batch, `H` history length, `T` tokens, `M` predictions, `I` items, `D` model width.
"""

import abc
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxrec.baselines.fitting import Evaluate, train_baseline
from jaxrec.baselines.item_table import (
    FIRST,
    FIXED,
    ItemTable,
    SequentialModel,
    history_tokens,
    vocabulary,
)
from jaxrec.baselines.negatives import Unseen
from jaxrec.core import ConfigError
from jaxrec.data import Windows, padded_batches
from jaxrec.data.pipeline import Source
from jaxrec.ids import write_histories
from jaxrec.nn import matrix_product
from jaxrec.objectives import (
    Loss,
    bce,
    bpr,
    cross_entropy,
    dro,
    propensities,
    sampled_softmax,
)
from jaxrec.train import FitResult, TrainConfig

Objective = Literal["cross_entropy", "bce", "bpr", "sampled_softmax"]


@dataclasses.dataclass(frozen=True)
class SequentialConfig(abc.ABC):
    """Settings of all neural sequential baselines.

    Attributes:
      width: D, of item vectors and states.
      max_items: most recent items that are read.
      dropout: while training.
      tied: score items with the vectors that are read, instead of with a table of their own.
      objective: full cross-entropy, binary cross-entropy or BPR with items that the user has not
        met, or softmax over the target and drawn items.
      negatives: items drawn: for each prediction (bce, bpr), or for all of a batch together.
      proposal: how sampled softmax draws: evenly, or as often as items occur in training.
      log_q: correct sampled softmax for the odds of a draw.
      robust: α, weight of the distributionally robust term (see `objectives.dro`); 0 for none.
      robust_beta: β of that term.
      train: optimizer and schedule.
    """

    title: ClassVar[str]
    item_bias: ClassVar[bool] = False

    width: int = 64
    max_items: int = 50
    dropout: float = 0.2
    tied: bool = True
    objective: Objective = "cross_entropy"
    negatives: int = 1
    proposal: Literal["uniform", "popularity"] = "uniform"
    log_q: bool = True
    robust: float = 0.0
    robust_beta: float = 1.0
    train: TrainConfig = TrainConfig(lr=1e-3, weight_decay=1e-2)

    def __post_init__(self) -> None:
        """Reject settings without meaning."""
        for name in ("width", "max_items", "negatives"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"{self.title}.{name} must be at least 1, got {getattr(self, name)}"
                )
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"{self.title}.dropout must lie in [0, 1), got {self.dropout}")
        if self.robust < 0 or self.robust_beta <= 0:
            raise ConfigError(
                f"{self.title}.robust must not be negative and {self.title}.robust_beta must be "
                f"positive, got {self.robust} and {self.robust_beta}"
            )

    @abc.abstractmethod
    def body(self) -> nn.Module:
        """From vectors `[B, T, D]` and validity to states: see `SequentialModel.body`."""

    def pairs(
        self, tokens: jax.Array, num_items: int, key: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """What is read of a batch, what it shall predict, and which predictions count.

        Args:
          tokens: `[B, 1 + max_items]` int32, PAD ..., BOS, items.
          num_items: I.
          key: for what is drawn.

        Returns:
          Tokens that are read, tokens to predict from the states there, and bool: `[B, T]` each.
        """
        del num_items, key
        return tokens[:, :-1], tokens[:, 1:], tokens[:, 1:] >= FIRST

    def query(self, tokens: jax.Array, num_items: int) -> jax.Array:
        """What is read so that the last state scores the next item: of `[B, 1 + max_items]`."""
        del num_items
        return tokens

    def query_feedback(self, feedback: jax.Array) -> jax.Array:
        """What is known of the tokens that `query` gives: of `[B, 1 + max_items]`."""
        return feedback


def make_model(
    config: SequentialConfig, num_items: int, *, text: bool = False, feedback: bool = False
) -> SequentialModel:
    """Build a baseline's model; see `ItemTable` for `text` and `feedback`."""
    table = ItemTable(num_items, config.width, config.tied, config.item_bias, text, feedback)
    return SequentialModel(table, config.body())


def fit_sequential(
    config: SequentialConfig,
    train_sequences: Source,
    num_items: int,
    evaluate: Evaluate,
    directory: Path,
    metric: str = "ndcg@10",
    *,
    text: np.ndarray | None = None,
) -> FitResult:
    """Train, or resume training, below `directory`.

    Args:
      config: settings of the baseline.
      train_sequences: random-access sequence of item arrays, one a user.
      num_items: I.
      evaluate: variables to validation metrics.
      directory: gets checkpoints and metrics.
      metric: ranks checkpoints.
      text: `[I, E]` vectors of the items' texts, rows of unit length, in place of a learned table.

    Raises:
      ConfigError: text vectors of other items.
      DataError: no users, a user without items, or one who has met every item where the objective
        needs others.
    """
    model = make_model(config, num_items, text=text is not None)
    windows = Windows.of(train_sequences, length=config.max_items, seed=config.train.seed)
    frequency = np.bincount(windows.items, minlength=num_items)

    def loss(params: Any, batch: Mapping[str, jax.Array], key: jax.Array) -> Loss:
        return sequence_loss(config, model, params, batch, key)

    return train_baseline(
        model,
        (jax.ShapeDtypeStruct((1, config.max_items + 1), jnp.int32),),
        loss,
        _batches(config, windows, num_items),
        config.train,
        evaluate,
        directory,
        fixed=fixed_arrays(num_items, frequency, text),
        metric=metric,
        title=config.title,
    )


def fixed_arrays(num_items: int, frequency: np.ndarray, text: np.ndarray | None) -> dict[str, Any]:
    """The collection "fixed": training counts of items, and their text vectors if there are any.

    Raises:
      ConfigError: text vectors of other items.
    """
    found: dict[str, Any] = {"frequency": np.asarray(frequency, np.float32)}
    if text is not None:
        if text.ndim != 2 or len(text) != num_items:
            raise ConfigError(f"text vectors of shape {text.shape} for {num_items} items")
        found["items"] = {"text": np.asarray(text, np.float32)}
    return found


def _batches(config: SequentialConfig, windows: Windows, num_items: int) -> Any:
    """Histories as tokens, and items that their users have not met where the objective reads them.

    Windows are drawn of the numbers of interactions, which tell whose they are.
    """
    items, token_of = windows.items, vocabulary(num_items).tokens(np.arange(num_items)[:, None])
    counts = np.diff(windows.offsets)
    user = np.repeat(np.arange(len(counts)), counts)
    unseen = Unseen(windows, num_items) if config.objective in ("bce", "bpr") else None

    def encode(numbers: np.ndarray, rng: np.random.Generator) -> Mapping[str, np.ndarray]:
        row = {"tokens": write_histories([items[numbers]], token_of, config.max_items)[0]}
        if unseen is not None:
            drawn = unseen.draw(rng, user[numbers[:1]], config.max_items * config.negatives)
            row["negative"] = drawn.reshape(config.max_items, config.negatives)
        return row

    numbers = dataclasses.replace(windows, items=np.arange(len(items), dtype=np.int32))
    return padded_batches(numbers, batch_size=config.train.batch_size, encode=encode)


def sequence_loss(
    config: SequentialConfig,
    model: SequentialModel,
    params: Any,
    batch: Mapping[str, jax.Array],
    key: jax.Array,
) -> Loss:
    """Sum of the objective over all predictions of a batch.

    Args:
      config: settings.
      model: of `make_model`.
      params: its variables, with the collection "fixed".
      batch: "tokens" `[B, 1 + max_items]` int32, and for bce and bpr "negative"
        `[B, max_items, n]` int32, items.
      key: for dropout, masks and draws.
    """
    corrupt, drop, draw = jax.random.split(key, 3)
    num_items = model.items.num_items
    read, target, counts = config.pairs(batch["tokens"], num_items, corrupt)
    found = model.apply(params, read, None, False, rngs={"dropout": drop})
    states, table, bias = found
    weight = counts.astype(jnp.float32).reshape(-1)
    losses = prediction_losses(
        config,
        states.reshape(-1, states.shape[-1]),
        table,
        bias,
        jnp.where(counts, target - FIRST, 0).reshape(-1),
        batch["negative"].reshape(-1, config.negatives) if "negative" in batch else None,
        params[FIXED]["frequency"],
        draw,
    )
    return Loss(total=(losses * weight).sum(), weight=weight.sum(), parts={})


def prediction_losses(
    config: SequentialConfig,
    states: jax.Array,
    table: jax.Array,
    bias: jax.Array,
    target: jax.Array,
    negative: jax.Array | None,
    frequency: jax.Array,
    key: jax.Array,
) -> jax.Array:
    """The objective of each prediction.

    Args:
      config: which objective.
      states: `[M, D]`.
      table: `[I, D]`.
      bias: `[I]`.
      target: `[M]` int32.
      negative: `[M, n]` int32, for bce and bpr.
      frequency: `[I]` training counts.
      key: for the draws of sampled softmax.

    Returns:
      `[M]` float32.
    """
    scores = None
    if config.objective == "cross_entropy" or config.robust:
        scores = all_scores(states, table, bias)
    if config.objective == "cross_entropy":
        assert scores is not None
        losses = cross_entropy(scores, target)
    else:
        positive = pick(states, table, bias, target[:, None])[:, 0]
        if config.objective == "sampled_softmax":
            losses = _sampled(config, states, table, bias, target, positive, frequency, key)
        else:
            assert negative is not None
            rank = {"bce": bce, "bpr": bpr}[config.objective]
            losses = rank(positive, pick(states, table, bias, negative))
    if config.robust:
        assert scores is not None
        robust = dro(scores, target, propensities(frequency), config.robust_beta)
        losses = losses + config.robust * robust
    return losses


def _sampled(
    config: SequentialConfig,
    states: jax.Array,
    table: jax.Array,
    bias: jax.Array,
    target: jax.Array,
    positive: jax.Array,
    frequency: jax.Array,
    key: jax.Array,
) -> jax.Array:
    """Sampled softmax; all predictions share the drawn items, whose scores are then one product."""
    q = frequency if config.proposal == "popularity" else jnp.ones_like(frequency)
    log_q = jnp.log(q / q.sum())
    drawn = jax.random.categorical(key, log_q, shape=(config.negatives,))
    negative = all_scores(states, table[drawn], bias[drawn])
    return sampled_softmax(
        positive,
        negative,
        drawn[None].astype(target.dtype) == target[:, None],
        log_q[drawn][None] if config.log_q else None,
    )


def all_scores(states: jax.Array, table: jax.Array, bias: jax.Array) -> jax.Array:
    """Scores of every row of a table: `[M, D]` states to `[M, I]` float32."""
    return matrix_product(states, table.T, jnp.float32) + bias[None]


def pick(states: jax.Array, table: jax.Array, bias: jax.Array, items: jax.Array) -> jax.Array:
    """Scores of some items of each state: `[M, D]` and `[M, n]` int32 to `[M, n]` float32."""
    return jnp.einsum("md,mnd->mn", states, table[items]) + bias[items]


def scores(
    params: Any,
    batch: Mapping[str, jax.Array | np.ndarray],
    *,
    config: SequentialConfig,
    num_items: int,
) -> jax.Array:
    """Scores of all items as the next one.

    Args:
      params: variables, of `fit_sequential`.
      batch: "history" `[B, H]` int, padded on the left with -1, newest last.
      config: settings (static under `jit`).
      num_items: I.

    Returns:
      `[B, I]` float32; with cross-entropy they are log-probabilities up to a constant a row.
    """
    model = make_model(config, num_items, text="items" in params[FIXED])
    tokens = config.query(history_tokens(batch["history"], config.max_items), num_items)
    states, table, bias = model.apply(params, tokens)
    return all_scores(states[:, -1], table, bias)
