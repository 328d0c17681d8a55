"""Click mode of the neural sequential baselines: whether a user will like an item.

The body reads a history, with what is known of the user's liking of each item, and the score of the
target's output vector, through a sigmoid, is the probability of a like. (So TALLRec's authors
describe their baselines, whose code is lost: Bao et al., RecSys 2023, and their issue 36.)

Shapes: `N` examples, `B` batch, `H` history length, `T` tokens, `I` items.
"""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.baselines.fitting import Evaluate, shuffled_batches, train_baseline
from jaxrec.baselines.item_table import (
    DISLIKED,
    FIXED,
    LIKED,
    Kind,
    SequentialModel,
    history_tokens,
    kind_of,
)
from jaxrec.baselines.sequential import fixed_arrays, make_model
from jaxrec.baselines.sequential_config import SequentialConfig
from jaxrec.baselines.sequential_loss import all_scores, pick
from jaxrec.core import DataError
from jaxrec.data import ClickWindows
from jaxrec.objectives import Loss, dro, propensities
from jaxrec.train import FitResult


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Clicks:
    """Examples of a history, an item, and whether it was liked.

    Attributes:
      history: `[N, H]` int32, padded on the left with -1, newest last.
      feedback: `[N, H]` int32 of each item of the history: `UNKNOWN`, `DISLIKED` or `LIKED` of
        `item_table`.
      target: `[N]` int32.
      label: `[N]` bool.
    """

    history: np.ndarray
    feedback: np.ndarray
    target: np.ndarray
    label: np.ndarray

    def __post_init__(self) -> None:
        """Reject arrays that do not belong together."""
        count, shape = len(self.target), self.history.shape
        if self.feedback.shape != shape or shape[0] != count or self.label.shape != (count,):
            raise DataError(
                f"clicks of shapes history {shape}, feedback {self.feedback.shape}, target "
                f"{self.target.shape}, label {self.label.shape} do not belong together"
            )

    @classmethod
    def of(cls, windows: ClickWindows) -> "Clicks":
        """Windows as examples."""
        feedback = np.where(windows.liked, LIKED, DISLIKED).astype(np.int32)
        return cls(
            history=windows.history, feedback=feedback, target=windows.target, label=windows.label
        )

    def __len__(self) -> int:
        """N."""
        return len(self.target)

    def take(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Some examples as a batch."""
        return {field.name: getattr(self, field.name)[rows] for field in dataclasses.fields(self)}


def fit_clicks(
    config: SequentialConfig,
    clicks: Clicks,
    num_items: int,
    evaluate: Evaluate,
    directory: Path,
    metric: str = "auc",
    *,
    text: np.ndarray | None = None,
    feedback: bool = True,
) -> FitResult:
    """Train, or resume training, below `directory`.

    Args:
      config: settings of the baseline, whose `objective` is not read: it is the binary
        cross-entropy of the labels, and with `robust` the robust term of the liked examples.
      clicks: examples.
      num_items: I.
      evaluate: variables to validation metrics.
      directory: gets checkpoints and metrics.
      metric: ranks checkpoints.
      text: `[I, E]` vectors of the items' texts, in place of a learned table.
      feedback: whether histories say what was liked.

    Raises:
      DataError: no examples.
    """
    kind: Kind = "table" if text is None else "text"
    model = make_model(config, num_items, kind=kind, feedback=feedback)
    met = np.concatenate([clicks.history.ravel(), clicks.target])
    shape = jax.ShapeDtypeStruct((1, config.max_items + 1), jnp.int32)
    return train_baseline(
        model,
        (shape, shape),
        functools.partial(click_loss, config, model),
        shuffled_batches(
            len(clicks),
            config.train.batch_size,
            config.train.seed,
            lambda rows, rng: clicks.take(rows),
        ),
        config.train,
        evaluate,
        directory,
        fixed=fixed_arrays(num_items, np.bincount(met[met >= 0], minlength=num_items), text),
        metric=metric,
        title=f"{config.title} clicks",
    )


def click_loss(
    config: SequentialConfig,
    model: SequentialModel,
    params: Any,
    batch: Mapping[str, jax.Array],
    key: jax.Array,
) -> Loss:
    """Sum over a batch of -ln σ(s_t) of liked and -ln(1 - σ(s_t)) of disliked targets t."""
    state, table, bias = _last(config, model, params, batch, key)
    score = pick(state, table, bias, batch["target"][:, None])[:, 0]
    liked = batch["label"]
    losses = jax.nn.softplus(jnp.where(liked, -score, score))
    if config.robust:
        every, odds = all_scores(state, table, bias), propensities(params[FIXED]["frequency"])
        robust = dro(every, batch["target"], odds, config.robust_beta)
        losses = losses + config.robust * jnp.where(liked, robust, 0.0)
    return Loss(total=losses.sum(), weight=jnp.float32(len(losses)), parts={})


def click_scores(
    params: Any,
    batch: Mapping[str, jax.Array | np.ndarray],
    *,
    config: SequentialConfig,
    num_items: int,
) -> jax.Array:
    """How much the user is expected to like the target: the logit of a like, `[B]` float32.

    Args:
      params: variables, of `fit_clicks`.
      batch: "history" and "feedback" `[B, H]` and "target" `[B]`, as in `Clicks`; a history may be
        empty.
      config: settings (static under `jit`).
      num_items: I.
    """
    table = params["params"]["items"]
    model = make_model(config, num_items, kind=kind_of(params[FIXED]), feedback="feedback" in table)
    state, rows, bias = _last(config, model, params, batch, None)
    return pick(state, rows, bias, jnp.asarray(batch["target"])[:, None])[:, 0]


def _last(
    config: SequentialConfig,
    model: SequentialModel,
    params: Any,
    batch: Mapping[str, Any],
    key: jax.Array | None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """State behind each history `[B, D]`, and the table and biases that score items."""
    num_items = model.items.num_items
    tokens = history_tokens(batch["history"], config.max_items)
    known = jnp.asarray(batch["feedback"])[:, -config.max_items :]
    known = jnp.pad(known, ((0, 0), (tokens.shape[1] - known.shape[1], 0)))
    states, table, bias = model.apply(
        params,
        config.query(tokens, num_items),
        config.query_feedback(known),
        key is None,
        rngs=None if key is None else {"dropout": key},
    )
    return states[:, -1], table, bias
