"""What the neural sequential baselines share: settings, objective, training and scoring.

A baseline is a body (a Flax module from item vectors to states) and its settings, a subclass of
`SequentialConfig` that builds the body. Every state is trained to score the item that follows.

Shapes: `B` batch, `H` history length, `T` tokens, `M` predictions, `I` items, `D` model width.
"""

import abc
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxrec.baselines.code_table import code_arrays
from jaxrec.baselines.fitting import Evaluate, train_baseline
from jaxrec.baselines.item_table import (
    FIRST,
    FIXED,
    ItemTable,
    Kind,
    SequentialModel,
    history_tokens,
    kind_of,
    vocabulary,
)
from jaxrec.baselines.negatives import Unseen
from jaxrec.core import ConfigError
from jaxrec.data import Buckets, Windows, bucketed_batches, padded_batches
from jaxrec.data.pipeline import Encode, Source
from jaxrec.ids import ItemCodes, write_histories
from jaxrec.nn import matrix_product
from jaxrec.objectives import (
    Loss,
    bce,
    bpr,
    cross_entropy,
    dro,
    info_nce,
    propensities,
    sampled_softmax,
)
from jaxrec.train import FitResult, TrainConfig

Objective = Literal["cross_entropy", "bce", "bpr", "sampled_softmax", "contrastive"]


@dataclasses.dataclass(frozen=True)
class SequentialConfig(abc.ABC):
    """Settings of all neural sequential baselines.

    Attributes:
      width: D, of item vectors and states.
      max_items: most recent items that are read.
      buckets: lengths that training histories are padded to, one a batch: 1 pads all to `max_items`
        (see `data.buckets`; shorter batches have as many more rows as keeps their tokens equal).
      dropout: while training.
      tied: score items with the vectors that are read, instead of with a table of their own.
      objective: full cross-entropy, binary cross-entropy or BPR with items that the user has not
        met, softmax over the target and drawn items, or InfoNCE, softmax over the target and the
        targets of the batch's other predictions (see `objectives.info_nce`).
      negatives: items drawn: for each prediction (bce, bpr), or for all of a batch together.
      proposal: how sampled softmax draws: evenly, or as often as items occur in training.
      log_q: correct sampled softmax for the odds of a draw.
      temperature: τ, for scores that are cosines over τ; 0 for plain products.
      synthetic: ρ, for InfoNCE over items with codes: a further negative of each prediction is its
        target with that share of its codes drawn anew; 0 for none.
      robust: α, weight of the distributionally robust term (see `objectives.dro`); 0 for none.
      robust_beta: β of that term.
      train: optimizer and schedule.
    """

    title: ClassVar[str]
    item_bias: ClassVar[bool] = False

    width: int = 64
    max_items: int = 50
    buckets: int = 1
    dropout: float = 0.2
    tied: bool = True
    objective: Objective = "cross_entropy"
    negatives: int = 1
    proposal: Literal["uniform", "popularity"] = "uniform"
    log_q: bool = True
    temperature: float = 0.0
    synthetic: float = 0.0
    robust: float = 0.0
    robust_beta: float = 1.0
    train: TrainConfig = TrainConfig(lr=1e-3, weight_decay=1e-2)

    def __post_init__(self) -> None:
        """Reject settings without meaning."""
        for name in ("width", "max_items", "buckets", "negatives"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"{self.title}.{name} must be at least 1, got {getattr(self, name)}"
                )
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"{self.title}.dropout must lie in [0, 1), got {self.dropout}")
        if self.temperature < 0 or not 0.0 <= self.synthetic <= 1.0:
            raise ConfigError(
                f"{self.title}.temperature must not be negative and {self.title}.synthetic must "
                f"lie in [0, 1], got {self.temperature} and {self.synthetic}"
            )
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
    config: SequentialConfig,
    num_items: int,
    *,
    kind: Kind = "table",
    feedback: bool = False,
    assigned: bool = False,
) -> SequentialModel:
    """Build a baseline's model; see `ItemTable` for `kind`, `feedback` and `assigned`."""
    table = ItemTable(
        num_items=num_items,
        width=config.width,
        tied=config.tied,
        bias=config.item_bias,
        kind=kind,
        feedback=feedback,
        assigned=assigned,
        cosine=config.temperature > 0,
    )
    return SequentialModel(table, config.body(), config.temperature)


def fit_sequential(
    config: SequentialConfig,
    train_sequences: Source,
    num_items: int,
    evaluate: Evaluate,
    directory: Path,
    metric: str = "ndcg@10",
    *,
    text: np.ndarray | None = None,
    codes: ItemCodes | None = None,
    held: Any = None,
    start: Callable[[], Any] | None = None,
    assigned: bool = False,
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
      codes: IDs of the items, whose codes have the vectors, in place of a learned table.
      held: parameters that are not trained, see `train_baseline`.
      start: likewise.
      assigned: train a choice among the rows of a code table, see `CodeTable`.

    Raises:
      ConfigError: text vectors or codes of other items, or a semi-synthetic negative without codes.
      DataError: no users, a user without items, or one who has met every item where the objective
        needs others.
    """
    windows = Windows.of(train_sequences, length=config.max_items, seed=config.train.seed)
    frequency = np.bincount(windows.items, minlength=num_items)
    fixed = fixed_arrays(num_items, frequency, text, codes)
    model = make_model(config, num_items, kind=kind_of(fixed), assigned=assigned)
    if config.synthetic and codes is None:
        raise ConfigError(
            f"{config.title}.synthetic {config.synthetic} draws codes anew, and these items have "
            "none; give codes, or set it to 0"
        )

    def loss(params: Any, batch: Mapping[str, jax.Array], key: jax.Array) -> Loss:
        return sequence_loss(config, model, params, batch, key)

    batches, shapes = _batches(config, windows, num_items)
    return train_baseline(
        model,
        (jax.ShapeDtypeStruct((1, config.max_items + 1), jnp.int32),),
        loss,
        batches,
        config.train,
        evaluate,
        directory,
        shapes=shapes,
        fixed=fixed,
        metric=metric,
        title=config.title,
        held=held,
        start=start,
    )


def fixed_arrays(
    num_items: int,
    frequency: np.ndarray,
    text: np.ndarray | None,
    codes: ItemCodes | None = None,
) -> dict[str, Any]:
    """The collection "fixed": training counts of items, and their text vectors or codes.

    Raises:
      ConfigError: text vectors or codes of other items, or both.
    """
    found: dict[str, Any] = {"frequency": np.asarray(frequency, np.float32)}
    if text is not None and codes is not None:
        raise ConfigError("item vectors can come from texts or from codes, not from both")
    if text is not None:
        if text.ndim != 2 or len(text) != num_items:
            raise ConfigError(f"text vectors of shape {text.shape} for {num_items} items")
        found["items"] = {"text": np.asarray(text, np.float32)}
    if codes is not None:
        if codes.num_items != num_items:
            raise ConfigError(f"codes of {codes.num_items} items for {num_items} items")
        found["items"] = {"coded": code_arrays(codes)}
    return found


def _batches(
    config: SequentialConfig, windows: Windows, num_items: int
) -> tuple[Any, list[dict[str, jax.ShapeDtypeStruct]]]:
    """Histories as tokens, and items that their users have not met where the objective reads them.

    Windows are drawn of the numbers of interactions, which tell whose they are.

    Returns:
      Grain dataset of batches, and their shapes, that of the longest histories last.
    """
    items, token_of = windows.items, vocabulary(num_items).tokens(np.arange(num_items)[:, None])
    counts = np.diff(windows.offsets)
    user = np.repeat(np.arange(len(counts)), counts)
    unseen = Unseen(windows, num_items) if config.objective in ("bce", "bpr") else None
    rows = config.train.batch_size

    def padded_to(length: int) -> Encode:
        def encode(numbers: np.ndarray, rng: np.random.Generator) -> Mapping[str, np.ndarray]:
            row = {"tokens": write_histories([items[numbers]], token_of, length)[0]}
            if unseen is not None:
                drawn = unseen.draw(rng, user[numbers[:1]], length * config.negatives)
                row["negative"] = drawn.reshape(length, config.negatives)
            return row

        return encode

    def shape(rows: int, length: int) -> dict[str, jax.ShapeDtypeStruct]:
        found = {"tokens": jax.ShapeDtypeStruct((rows, 1 + length), jnp.int32)}
        if unseen is not None:
            drawn = (rows, length, config.negatives)
            found["negative"] = jax.ShapeDtypeStruct(drawn, jnp.int32)
        return found

    numbers = dataclasses.replace(windows, items=np.arange(len(items), dtype=np.int32))
    if config.buckets == 1:
        dataset = padded_batches(numbers, batch_size=rows, encode=padded_to(config.max_items))
        return dataset, [shape(rows, config.max_items)]
    multiple = config.train.accumulate * jax.device_count()
    buckets = Buckets.of(numbers, count=config.buckets, batch_size=rows, multiple=multiple)
    shapes = [shape(*size) for size in zip(buckets.rows, buckets.lengths, strict=True)]
    return bucketed_batches(buckets, encode=padded_to), shapes


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
    states = states.reshape(-1, states.shape[-1])
    target = jnp.where(counts, target - FIRST, 0).reshape(-1)
    counts = counts.reshape(-1)
    weight = counts.astype(jnp.float32)
    if config.objective == "contrastive":
        fake = None
        if config.synthetic:
            fake = model.apply(params, target, config.synthetic, draw, method="synthetic")
        losses = info_nce(states, table[target], target, counts, fake)
        return Loss(total=jnp.where(counts, losses, 0.0).sum(), weight=weight.sum(), parts={})
    losses = prediction_losses(
        config,
        states,
        table,
        bias,
        target,
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
    drawn = draw_items(q, config.negatives, key)
    negative = all_scores(states, table[drawn], bias[drawn])
    return sampled_softmax(
        positive,
        negative,
        drawn[None].astype(target.dtype) == target[:, None],
        log_q[drawn][None] if config.log_q else None,
    )


def draw_items(counts: jax.Array, number: int, key: jax.Array) -> jax.Array:
    """Draw items as often as they are counted, with replacement: `[I]` to `[number]` int32.

    The counts are whole numbers whose sum is below 2^31, so that the odds are exact.

    Cost: O(I + number log I), where Gumbel noise would be number I random numbers.
    """
    below = jnp.cumsum(counts.astype(jnp.int32))
    places = jax.random.randint(key, (number,), 0, below[-1], jnp.int32)
    return jnp.searchsorted(below, places, side="right").astype(jnp.int32)


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
    coded = params["params"]["items"].get("coded", {})
    kind = kind_of(params[FIXED])
    model = make_model(config, num_items, kind=kind, assigned="assign" in coded)
    tokens = config.query(history_tokens(batch["history"], config.max_items), num_items)
    states, table, bias = model.apply(params, tokens)
    return all_scores(states[:, -1], table, bias)
