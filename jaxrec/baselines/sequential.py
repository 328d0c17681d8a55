"""Training and scoring of the neural sequential baselines.

A baseline consists of a body (a Flax module from item vectors to states) and its settings, a
subclass of `SequentialConfig` that builds the body. Every state is trained to score the item that
follows.

Shapes: `B` batch, `H` history length, `I` items, `E` width of text vectors.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.baselines.code_table import code_arrays
from jaxrec.baselines.fitting import Problem, load_baseline, plan_baseline, train_baseline
from jaxrec.baselines.history_negatives import add_to_read, repeat_bias
from jaxrec.baselines.item_table import (
    FIRST,
    FIXED,
    ItemTable,
    Kind,
    SequentialModel,
    history_times,
    history_tokens,
    kind_of,
)
from jaxrec.baselines.negatives import Unseen
from jaxrec.baselines.sequential_config import SequentialConfig
from jaxrec.baselines.sequential_loss import all_scores, sequence_loss
from jaxrec.core import ConfigError
from jaxrec.data import (
    Buckets,
    Encode,
    Source,
    Windows,
    bucketed_batches,
    elapsed,
    padded_batches,
)
from jaxrec.ids import BOS, PAD, ItemCodes
from jaxrec.objectives import Loss
from jaxrec.train import FitResult, Plan, Start, Validation


def make_model(
    config: SequentialConfig,
    num_items: int,
    *,
    kind: Kind = "table",
    feedback: bool = False,
    assigned: bool = False,
) -> SequentialModel:
    """Build the model of a baseline; `ItemTable` explains `kind`, `feedback` and `assigned`.

    Example:
      >>> from jaxrec.baselines import Gru4RecConfig
      >>> model = make_model(Gru4RecConfig(width=8), num_items=6)
      >>> model.items.num_items, model.body.width
      (6, 8)
    """
    table = ItemTable(
        num_items=num_items,
        width=config.width,
        tied=config.tied,
        bias=config.item_bias,
        kind=kind,
        feedback=feedback,
        assigned=assigned,
        cosine=config.temperature > 0,
        dropout=config.table_dropout,
        init_std=config.init_std,
        repeat=config.repeat_bias,
    )
    return SequentialModel(table, config.body(), config.temperature)


def fit_sequential(
    config: SequentialConfig,
    train_sequences: Source,
    num_items: int,
    validation: Validation,
    directory: Path,
    *,
    text: np.ndarray | None = None,
    codes: ItemCodes | None = None,
    start: Start | None = None,
    assigned: bool = False,
    times: np.ndarray | None = None,
) -> FitResult:
    """Train a baseline in `directory`, or resume its training there.

    Args:
      config: settings of the baseline.
      train_sequences: random-access sequence with one item array per user.
      num_items: I.
      validation: how checkpoints are measured and ranked.
      directory: receives checkpoints and metrics.
      text: `[I, E]` vectors of the items' texts, rows of unit length, used instead of a learned
        table.
      codes: item IDs whose codes have the learned vectors, used instead of one vector per item.
      start: initial and frozen parameters, see `train_baseline`.
      assigned: train a choice among the rows of a code table, see `CodeTable`.
      times: `[n]` seconds of all interactions, one user after the other, for a baseline that reads
        them; None if the data only tell the order.

    Raises:
      ConfigError: text vectors or codes belong to other items, semi-synthetic negatives are
        requested without codes, or the baseline reads times and the data have none.
      DataError: there are no users, a user has no items, or a user has met every item although the
        objective needs items that were not met.
    """
    problem = _problem(config, train_sequences, num_items, text, codes, assigned, times)
    return train_baseline(problem, config.train, validation, directory, start)


def load_sequential(
    config: SequentialConfig,
    num_items: int,
    directory: Path,
    *,
    text: np.ndarray | None = None,
    codes: ItemCodes | None = None,
    start: Start | None = None,
) -> Any:
    """Read the variables that `fit_sequential` trained, as `scores` takes them, without any data.

    Args:
      config: settings of the baseline.
      num_items: I.
      directory: where it was trained.
      text: see `fit_sequential`.
      codes: see `fit_sequential`.
      start: frozen parameters, and hashes that the checkpoint must have.

    Raises:
      DataError: not trained yet, damaged, or of another model.
    """
    # Only training reads how often items occur.
    fixed = fixed_arrays(num_items, np.zeros(num_items), text, codes)
    model = make_model(config, num_items, kind=kind_of(fixed))
    return load_baseline(model, _example(config), fixed, config.train, directory, start)


def _example(config: SequentialConfig) -> tuple[jax.ShapeDtypeStruct]:
    return (jax.ShapeDtypeStruct((1, config.max_items + 1), jnp.int32),)


def plan_sequential(
    config: SequentialConfig,
    train_sequences: Source,
    num_items: int,
    *,
    text: np.ndarray | None = None,
    codes: ItemCodes | None = None,
    times: np.ndarray | None = None,
) -> Plan:
    """Plan what `fit_sequential` trains: its size and its memory, without allocating anything.

    The arguments and errors are those of `fit_sequential`.

    Example:
      >>> import numpy as np
      >>> from jaxrec.baselines import SasrecConfig, sequential
      >>> config = SasrecConfig(width=4, depth=1, max_items=2)
      >>> histories = [np.array([0, 1, 2]), np.array([2, 1])]
      >>> sequential.plan_sequential(config, histories, 3).size.trainable
      180
    """
    problem = _problem(config, train_sequences, num_items, text, codes, False, times)
    return plan_baseline(problem, config.train)[0]


def _problem(
    config: SequentialConfig,
    train_sequences: Source,
    num_items: int,
    text: np.ndarray | None,
    codes: ItemCodes | None,
    assigned: bool,
    times: np.ndarray | None,
) -> Problem:
    """The module, the loss and the batches of a baseline."""
    windows = Windows.of(train_sequences, length=config.max_items, seed=config.train.seed)
    frequency = np.bincount(windows.items, minlength=num_items)
    fixed = fixed_arrays(num_items, frequency, text, codes)
    model = make_model(config, num_items, kind=kind_of(fixed), assigned=assigned)
    if config.reads_times and times is None:
        raise ConfigError(
            f"{config.title}.time_gaps needs the times of the interactions, and these data only "
            "tell their order; set time_gaps to false, or give data with times"
        )
    if config.synthetic and codes is None:
        raise ConfigError(
            f"{config.title}.synthetic {config.synthetic} redraws codes of items, but these items "
            f"have no codes; pass codes, or set {config.title}.synthetic to 0"
        )

    def loss(params: Any, batch: Mapping[str, jax.Array], key: jax.Array) -> Loss:
        return sequence_loss(config, model, params, batch, key)

    batches, shapes = _batches(config, windows, num_items, times)
    return Problem(
        title=config.title,
        model=model,
        example=_example(config),
        loss=loss,
        batches=batches,
        shapes=shapes,
        fixed=fixed,
    )


def fixed_arrays(
    num_items: int,
    frequency: np.ndarray,
    text: np.ndarray | None,
    codes: ItemCodes | None = None,
) -> dict[str, Any]:
    """The collection "fixed": training counts of the items, and their text vectors or codes.

    Raises:
      ConfigError: text vectors or codes belong to other items, or both are given.
    """
    fixed: dict[str, Any] = {"frequency": np.asarray(frequency, np.float32)}
    if text is not None and codes is not None:
        raise ConfigError("item vectors can come from texts or from codes, but both were given")
    if text is not None:
        if text.ndim != 2 or len(text) != num_items:
            raise ConfigError(
                f"text vectors of shape {text.shape} for {num_items} items; expected one row per "
                "item"
            )
        fixed["items"] = {"text": np.asarray(text, np.float32)}
    if codes is not None:
        if codes.num_items != num_items:
            raise ConfigError(
                f"codes of {codes.num_items} items for {num_items} items; expected one ID per item"
            )
        fixed["items"] = {"coded": code_arrays(codes)}
    return fixed


def _batches(
    config: SequentialConfig, windows: Windows, num_items: int, times: np.ndarray | None = None
) -> tuple[Any, list[dict[str, jax.ShapeDtypeStruct]]]:
    """Histories as tokens and, if the objective or the body reads them, unseen items and times.

    The windows hold numbers of interactions, not items, because these also identify the user.

    Returns:
      Grain dataset of batches, and their shapes; the shapes of the longest histories come last.
    """
    items, counts = windows.items, np.diff(windows.offsets)
    user = np.repeat(np.arange(len(counts)), counts)
    unseen = Unseen(windows, num_items) if config.objective in ("bce", "bpr") else None
    timed = times if config.reads_times else None
    rows = config.train.batch_size

    def padded_to(length: int) -> Encode:
        def encode(numbers: np.ndarray, rng: np.random.Generator) -> Mapping[str, np.ndarray]:
            # As `write_histories` writes them, without its checks, which took a fifth of a step.
            tokens = np.full(1 + length, PAD, np.int32)
            tokens[1 + length - len(numbers) :] = items[numbers] + FIRST
            tokens[length - len(numbers)] = BOS
            row: dict[str, np.ndarray] = {"tokens": tokens}
            if unseen is not None:
                drawn = unseen.draw(rng, user[numbers[:1]], length * config.negatives)
                row["negative"] = drawn.reshape(length, config.negatives)
            if timed is not None:
                row["times"] = np.zeros(1 + length, np.int32)
                row["times"][1 + length - len(numbers) :] = elapsed(timed[numbers])
            return row

        return encode

    def shape(rows: int, length: int) -> dict[str, jax.ShapeDtypeStruct]:
        shapes = {"tokens": jax.ShapeDtypeStruct((rows, 1 + length), jnp.int32)}
        if unseen is not None:
            drawn = (rows, length, config.negatives)
            shapes["negative"] = jax.ShapeDtypeStruct(drawn, jnp.int32)
        if timed is not None:
            shapes["times"] = jax.ShapeDtypeStruct((rows, 1 + length), jnp.int32)
        return shapes

    numbers = dataclasses.replace(windows, items=np.arange(len(items), dtype=np.int32))
    if config.buckets == 1:
        dataset = padded_batches(numbers, batch_size=rows, encode=padded_to(config.max_items))
        return dataset, [shape(rows, config.max_items)]
    multiple = config.train.accumulate * jax.device_count()
    buckets = Buckets.of(numbers, count=config.buckets, batch_size=rows, multiple=multiple)
    shapes = [shape(*size) for size in zip(buckets.rows, buckets.lengths, strict=True)]
    return bucketed_batches(buckets, encode=padded_to), shapes


def scores(
    params: Any,
    batch: Mapping[str, jax.Array | np.ndarray],
    *,
    config: SequentialConfig,
    num_items: int,
) -> jax.Array:
    """Score every item as the next one.

    Args:
      params: variables returned by `fit_sequential`.
      batch: "history" `[B, H]` int, padded on the left with -1, newest item last. A baseline that
        reads times finds them in "times", `[B, H]` int32 seconds, -1 where they are not known;
        without them no time is known.
      config: settings (static under `jit`).
      num_items: I.

    Returns:
      `[B, I]` float32. With cross-entropy they are log-probabilities up to a constant per row.

    Raises:
      DataError: an item outside the catalogue.
    """
    coded = params["params"]["items"].get("coded", {})
    kind = kind_of(params[FIXED])
    model = make_model(config, num_items, kind=kind, assigned="assign" in coded)
    tokens = config.query(history_tokens(batch["history"], config.max_items, num_items), num_items)
    times = None
    if config.reads_times and "times" in batch:
        times = config.query_times(history_times(batch["times"], config.max_items))
    states, table, bias = model.apply(params, tokens, times=times)
    found = all_scores(states[:, -1], table, bias)
    if not config.repeat_bias:
        return found
    return add_to_read(found, tokens, repeat_bias(params["params"]))
