"""Click mode of the neural sequential baselines: predict whether the user likes an item.

The body reads a history together with the user's known opinion of each item. The product of the
last state and the target's output vector is the logit of a like. TALLRec's authors describe their
baselines in this way (Bao et al., RecSys 2023, and issue 36 of their repository); the code of these
baselines is lost.

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

from jaxrec.baselines.fitting import Problem, shuffled_batches, train_baseline
from jaxrec.baselines.item_table import (
    DISLIKED,
    FIXED,
    LIKED,
    UNKNOWN,
    Kind,
    SequentialModel,
    history_tokens,
    kind_of,
)
from jaxrec.baselines.sequential import fixed_arrays, make_model
from jaxrec.baselines.sequential_config import SequentialConfig
from jaxrec.baselines.sequential_loss import all_scores, pick
from jaxrec.core import DataError, check_numbers
from jaxrec.data import ClickWindows
from jaxrec.objectives import Loss, dro, propensities
from jaxrec.train import FitResult, Validation


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Clicks:
    """Examples of a history, a target item, and whether the user liked the target.

    Attributes:
      history: `[N, H]` int32, padded on the left with -1, newest item last.
      feedback: `[N, H]` int32, the user's opinion of each item of the history: `UNKNOWN`,
        `DISLIKED` or `LIKED` of `item_table`.
      target: `[N]` int32.
      label: `[N]` bool.

    Example:
      >>> import numpy as np
      >>> clicks = Clicks(
      ...     history=np.array([[-1, 4], [2, 5]]),
      ...     feedback=np.array([[0, 2], [1, 2]]),
      ...     target=np.array([7, 7]),
      ...     label=np.array([True, False]),
      ... )
      >>> len(clicks), clicks.take(np.array([1]))["history"].tolist()
      (2, [[2, 5]])
    """

    history: np.ndarray
    feedback: np.ndarray
    target: np.ndarray
    label: np.ndarray

    def __post_init__(self) -> None:
        """Reject arrays whose shapes do not match."""
        count, shape = len(self.target), self.history.shape
        if self.feedback.shape != shape or shape[0] != count or self.label.shape != (count,):
            raise DataError(
                f"arrays of clicks do not belong together: history {shape}, feedback "
                f"{self.feedback.shape}, target {self.target.shape}, label {self.label.shape}; "
                "expected [N, H], [N, H], [N] and [N]"
            )

    @classmethod
    def of(cls, windows: ClickWindows) -> "Clicks":
        """Convert click windows to examples."""
        opinions = np.where(windows.liked, LIKED, DISLIKED)
        feedback = np.where(windows.history < 0, UNKNOWN, opinions).astype(np.int32)
        return cls(
            history=windows.history, feedback=feedback, target=windows.target, label=windows.label
        )

    def __len__(self) -> int:
        """Number of examples N."""
        return len(self.target)

    def take(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Select examples by their numbers, as a batch."""
        return {field.name: getattr(self, field.name)[rows] for field in dataclasses.fields(self)}


def fit_clicks(
    config: SequentialConfig,
    clicks: Clicks,
    num_items: int,
    validation: Validation,
    directory: Path,
    *,
    text: np.ndarray | None = None,
    feedback: bool = True,
) -> FitResult:
    """Train a baseline in `directory`, or resume its training there.

    Args:
      config: settings of the baseline. Its `objective` is not used: the loss is the binary
        cross-entropy of the labels and, with `robust`, the robust term of the liked examples.
      clicks: training examples.
      num_items: I.
      validation: how checkpoints are measured and ranked.
      directory: receives checkpoints and metrics.
      text: `[I, E]` vectors of the items' texts, used instead of a learned table.
      feedback: whether the model reads the user's opinion of the items of a history.

    Raises:
      DataError: there are no examples.
    """
    kind: Kind = "table" if text is None else "text"
    model = make_model(config, num_items, kind=kind, feedback=feedback)
    met = np.concatenate([clicks.history.ravel(), clicks.target])
    shape = jax.ShapeDtypeStruct((1, config.max_items + 1), jnp.int32)
    batch_size, seed = config.train.batch_size, config.train.seed
    problem = Problem(
        title=f"{config.title} clicks",
        model=model,
        example=(shape, shape),
        loss=functools.partial(click_loss, config, model),
        batches=shuffled_batches(len(clicks), batch_size, seed, lambda rows, _: clicks.take(rows)),
        fixed=fixed_arrays(num_items, np.bincount(met[met >= 0], minlength=num_items), text),
    )
    return train_baseline(problem, config.train, validation, directory)


def click_loss(
    config: SequentialConfig,
    model: SequentialModel,
    params: Any,
    batch: Mapping[str, jax.Array],
    key: jax.Array,
) -> Loss:
    """Sum over a batch of -ln σ(s_t) for liked and -ln(1 - σ(s_t)) for disliked targets t."""
    state, table, bias = _last(config, model, params, batch, key)
    score = pick(state, table, bias, batch["target"][:, None])[:, 0]
    liked = batch["label"]
    losses = jax.nn.softplus(jnp.where(liked, -score, score))
    if config.robust:
        of_items, odds = all_scores(state, table, bias), propensities(params[FIXED]["frequency"])
        robust = dro(of_items, batch["target"], odds, config.robust_beta)
        losses = losses + config.robust * jnp.where(liked, robust, 0.0)
    return Loss(total=losses.sum(), weight=jnp.float32(len(losses)), parts={})


def click_scores(
    params: Any,
    batch: Mapping[str, jax.Array | np.ndarray],
    *,
    config: SequentialConfig,
    num_items: int,
) -> jax.Array:
    """Logit of the probability that the user likes the target, `[B]` float32.

    Args:
      params: variables returned by `fit_clicks`.
      batch: "history" and "feedback" `[B, H]` and "target" `[B]`, as in `Clicks`; a history may be
        empty.
      config: settings (static under `jit`).
      num_items: I.
    """
    check_numbers(batch["target"], num_items, "target items", missing=False)
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
    """State after each history `[B, D]`, and the table and biases that score items."""
    num_items = model.items.num_items
    tokens = history_tokens(batch["history"], config.max_items, num_items)
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
