"""Yardsticks of pre-trained models: every model that can is measured by the same ones.

writing (decoders and encoder-decoders)
    lm_loss         nats per token of the test text, cut into blocks of `length` - 1 tokens
    bits_per_byte   the same per byte of the text, which does not depend on the tokenizer
    infilling_loss  nats per target token of T5's span corruption (15 %, spans of 3)
masked (encoders)
    masked_accuracy share of the masked tokens of test pairs whose best-scored token is right
    unigram_accuracy the same for the most frequent token of the training part
    nsp_accuracy    share of test pairs whose second part is rightly told to follow or not

A model with mode tokens reads the one that fits: S for language modeling, R for infilling. Noise is
drawn with a fixed seed, so that all models see the same texts with the same tokens removed.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.objectives import (
    Corruption,
    Denoiser,
    Example,
    check_sentinels,
    language_loss,
    longest_text,
    masked_scores,
    stack_rows,
)
from jaxrec.systems.pretrain.corpus import Encoded
from jaxrec.systems.pretrain.objective import Learning

_SEED = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Yardstick:
    """Rows to measure on, and what one of them weighs.

    Attributes:
      batch: rows as the loss takes them, name -> `[N, ...]`.
      weight: mean number of predictions in a row, so that the mean over rows of (sum / weight) is
        the mean over predictions.
    """

    batch: Mapping[str, np.ndarray]
    weight: float

    def __len__(self) -> int:
        return len(self.batch["tokens"])

    def spread(self, rows: int) -> "Yardstick":
        """Some of the rows, spread evenly; all if `rows` is 0 or not fewer."""
        if not rows or rows >= len(self):
            return self
        chosen = np.linspace(0, len(self) - 1, rows).round().astype(int)
        batch = {name: values[chosen] for name, values in self.batch.items()}
        return Yardstick(batch, float(batch["weights"].sum(axis=1).mean()))


def language_rows(learning: Learning, encoded: Encoded) -> Yardstick:
    """Blocks of the text to write from nothing; what is left at the end is not measured.

    Raises:
      DataError: the text is shorter than a block.
    """
    denoiser = Denoiser(kind="whole", mode="S" if learning.config.objective.has_modes else "")
    size = learning.config.length - 1
    return _writing_rows(learning, denoiser, size, encoded)


def infilling_rows(learning: Learning, encoded: Encoded) -> Yardstick | None:
    """Windows of the text with removed spans; None if they do not fit, or lack sentinels.

    Raises:
      DataError: the text is shorter than a window.
    """
    denoiser = Denoiser(mode="R" if learning.config.objective.has_modes else "")
    # As many tokens as fit into a joined row, whatever the layout of this model.
    try:
        raw = longest_text(denoiser, learning.config.length, joined=True, extra=1).raw
        check_sentinels(denoiser, raw, len(learning.reserved.sentinels))
    except ConfigError:
        return None
    return _writing_rows(learning, denoiser, raw, encoded)


def _writing_rows(learning: Learning, denoiser: Denoiser, size: int, encoded: Encoded) -> Yardstick:
    tokens = encoded.stream
    count = len(tokens) // size
    if not count:
        raise DataError(
            f"a part of the corpus has {len(tokens)} tokens, and measuring takes {size}; give more "
            "text, or lower --length"
        )
    corruption = dataclasses.replace(learning.corruption, denoisers=(denoiser,), per_row=1)
    rows = tokens[: count * size].reshape(count, size)
    examples = [
        corruption.example(row, np.random.default_rng([_SEED, number]))
        for number, row in enumerate(rows)
    ]
    return _yardstick(corruption, examples)


def own_rows(learning: Learning, encoded: Encoded) -> Yardstick:
    """Examples of the run's own objective, which rank its checkpoints.

    Raises:
      DataError: the text is shorter than an example, or has too few documents for pairs.
    """
    if learning.masked:
        return masked_rows(learning, encoded)
    corruption = dataclasses.replace(learning.corruption, per_row=1)
    tokens, size = encoded.stream, learning.corruption.raw
    count = len(tokens) // size
    if not count:
        raise DataError(
            f"a part of the corpus has {len(tokens)} tokens, and an example takes {size}; give "
            "more text, or lower --length"
        )
    rows = tokens[: count * size].reshape(count, size)
    # Each denoiser has its share of the rows, and not one drawn by chance.
    many = len(corruption.denoisers)
    shares = np.array([d.weight for d in corruption.denoisers], np.float64)
    ends = np.cumsum(shares / shares.sum())
    places = (np.arange(count) * 0.6180339887) % 1.0
    numbers = np.minimum(np.searchsorted(ends, places, side="right"), many - 1)
    examples = [
        corruption.example_of(int(number), row, np.random.default_rng([_SEED, at]))
        for at, (number, row) in enumerate(zip(numbers, rows, strict=True))
    ]
    return _yardstick(corruption, examples)


def masked_rows(learning: Learning, encoded: Encoded) -> Yardstick:
    """Pairs with masked tokens, as many as an epoch of the part has.

    Raises:
      DataError: fewer than two documents.
    """
    pairs = learning.pairs(encoded, _SEED)
    batch = stack_rows(pairs.draw(range(pairs.per_epoch)))
    return Yardstick(batch, float(batch["weights"].sum(axis=1).mean()))


def _yardstick(corruption: Corruption, examples: Sequence[Example]) -> Yardstick:
    batch = corruption.arrange([[example] for example in examples])
    return Yardstick(batch, float(batch["weights"].sum(axis=1).mean()))


class Meter:
    """Measures a model on yardsticks; compiles each shape once."""

    def __init__(self, learning: Learning) -> None:
        """Prepare the functions; nothing is compiled yet."""
        self._learning = learning
        self._nats = jax.jit(self._row_nats)
        self._masked = jax.jit(self._row_masked)

    def nats(self, params: Any, yardstick: Yardstick) -> np.ndarray:
        """Return the loss of each row over its weight, `[N]`: their mean is that of predictions."""
        (total,) = self._over_rows(lambda p, b: (self._nats(p, b),), params, yardstick)
        return total / yardstick.weight

    def masked(self, params: Any, yardstick: Yardstick) -> dict[str, np.ndarray]:
        """Return hits and nats of masked tokens over the weight, and hits of following: `[N]`."""
        hits, nats, follows = self._over_rows(self._masked, params, yardstick)
        return {
            "masked_accuracy": hits / yardstick.weight,
            "masked_loss": nats / yardstick.weight,
            "nsp_accuracy": follows,
        }

    def _row_nats(self, params: Any, batch: Mapping[str, jax.Array]) -> jax.Array:
        def one(row: Mapping[str, jax.Array]) -> jax.Array:
            alone = {name: value[None] for name, value in row.items()}
            return language_loss(self._learning.model, params, alone, None).total

        return jax.vmap(one)(dict(batch))

    def _row_masked(self, params: Any, batch: Mapping[str, jax.Array]) -> tuple[jax.Array, ...]:
        scores, follows = masked_scores(self._learning.model, params, batch, None)
        right = (scores.argmax(-1) == batch["labels"]).astype(jnp.float32)
        log_p = jax.nn.log_softmax(scores)
        nats = -jnp.take_along_axis(log_p, batch["labels"][..., None], 2)[..., 0]
        told = (follows.argmax(-1) == batch["follows"]).astype(jnp.float32)
        weights = batch["weights"]
        return (right * weights).sum(1), (nats * weights).sum(1), told

    def _over_rows(self, function: Any, params: Any, yardstick: Yardstick) -> list[np.ndarray]:
        """Apply a function to batches of rows; the last one is filled up with the first row."""
        size = min(self._learning.config.eval.batch_size, len(yardstick))
        parts = []
        for first in range(0, len(yardstick), size):
            rows = np.arange(first, first + size)
            rows[rows >= len(yardstick)] = 0
            batch = {name: jnp.asarray(value[rows]) for name, value in yardstick.batch.items()}
            parts.append(function(params, batch))
        # Results are fetched after all batches were sent.
        return [
            np.concatenate([np.asarray(p, np.float64) for p in column])[: len(yardstick)]
            for column in zip(*parts, strict=True)
        ]


def test_values(
    learning: Learning, params: Any, train: Encoded, test: Encoded, test_bytes: int
) -> dict[str, np.ndarray]:
    """Measure a model on the test part: one value per row, by the name of the metric.

    Args:
      learning: what the model learned.
      params: its variables.
      train: the training part, whose most frequent token is the unigram baseline.
      test: the test part.
      test_bytes: number of bytes of its text.

    Raises:
      DataError: the part is too small.
    """
    meter, found = Meter(learning), yardsticks(learning, test)
    if learning.masked:
        rows = found["masked"]
        values = meter.masked(params, rows)
        frequent = np.bincount(np.concatenate(train.documents)).argmax()
        hits = ((rows.batch["labels"] == frequent) * rows.batch["weights"]).sum(axis=1)
        return values | {"unigram_accuracy": hits / rows.weight}
    values = {name: meter.nats(params, rows) for name, rows in found.items()}
    per_byte = len(test.stream) / test_bytes / math.log(2)
    return values | {"bits_per_byte": values["lm_loss"] * per_byte}


def yardsticks(learning: Learning, encoded: Encoded) -> dict[str, Yardstick]:
    """Return what a model is measured on, by the name of the measure; "masked" for encoders.

    Raises:
      DataError: the part is too small.
    """
    if learning.masked:
        return {"masked": masked_rows(learning, encoded)}
    found = {"lm_loss": language_rows(learning, encoded)}
    infilling = infilling_rows(learning, encoded)
    return found if infilling is None else found | {"infilling_loss": infilling}
