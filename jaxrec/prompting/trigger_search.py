"""AutoPrompt: words of a prompt are replaced one by one, guided by the gradient of the loss.

(Shin et al. 2020, arXiv:2010.15980, section 2.2.) To first order, the loss changes by

    (e_v - e_t) . dL / d e_t

if token t at a trigger place becomes v. This scores all tokens of the vocabulary at once; the best
few are then tried on data. A replacement is kept if it lowers the loss.

Trigger places are virtual tokens (see `nn.kernel`), whose vectors are rows of the embedding table.
So a prompt of words is a prompt of prompt tuning that is confined to these rows, and the places may
stand anywhere in a text.

Shapes: `P` trigger places, `V` vocabulary, `D` model width, `K` candidates.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import ConfigError, Count, Whole, check_ranges
from jaxrec.models import ModelSpec
from jaxrec.nn import TUNED
from jaxrec.objectives import language_loss
from jaxrec.peft import prompt

Batch = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class TriggerOptions:
    """How long a search is, and how wide.

    Attributes:
      steps: number of trigger places that are looked at, drawn at random.
      candidates: K, number of tokens that are tried at each of them.
      seed: seed of the places.

    Example:
      >>> TriggerOptions(steps=10).candidates
      16
    """

    steps: Count = 100
    candidates: Count = 16
    seed: Whole = 0

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        check_ranges(self, "")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TriggerStep:
    """A prompt that was kept.

    Attributes:
      step: number of the step that made it, from 1; 0 for the prompt at the start.
      tokens: P tokens.
      before: loss of the prompt before it, on the batch that it was tried on.
      after: its own loss on the same batch.
    """

    step: int
    tokens: tuple[int, ...]
    before: float
    after: float


def replacement_scores(gradient: jax.Array, table: jax.Array, tokens: jax.Array) -> jax.Array:
    """Estimate how the loss changes if one token becomes another: `[P, V]`, lower is better.

    Args:
      gradient: `[P, D]`, of the loss with regard to the vectors of the trigger places.
      table: `[V, D]`, the vectors that tokens have as inputs.
      tokens: `[P]` int32, what stands there now.

    Example:
      >>> table = jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
      >>> replacement_scores(jnp.array([[1.0, -1.0]]), table, jnp.array([1])).tolist()
      [[-1.0, 0.0, -3.0]]
    """
    # [P, D], [V, D] -> [P, V]
    products = jnp.einsum("pd,vd->pv", gradient, table)
    return products - jnp.take_along_axis(products, tokens[:, None], axis=1)


@dataclasses.dataclass(frozen=True, eq=False)
class TriggerModel:
    """A frozen decoder whose texts have trigger places.

    Attributes:
      spec: the model.
      params: `{"params": ...}`; a model with virtual tokens of its own has no room for triggers.

    Raises:
      ConfigError: the model is no decoder, or has a tuned prompt, prefix or another update.
    """

    spec: ModelSpec
    params: Any

    def __post_init__(self) -> None:
        """Reject models that this search cannot read."""
        if self.spec.kind != "causal":
            raise ConfigError(
                f"the search for trigger words needs a causal model, got {self.spec.kind}; search "
                "among wordings instead"
            )
        if TUNED in self.params:
            raise ConfigError(
                "the search for trigger words needs a model without a tuned prompt, prefix or "
                "update; merge LoRA with peft.merged, or give the base"
            )

    @functools.cached_property
    def table(self) -> jax.Array:
        """The vectors of all tokens as the first block reads them: `[V, D]` float32."""
        leaves = flatten_dict(nn.meta.unbox(self.params)["params"], sep="/")
        rows = leaves[f"{self._path}/table"].astype(jnp.float32)
        return rows * self.spec.config.embedding_scale

    @functools.cached_property
    def _path(self) -> str:
        return prompt.table_path(self.params)[0]

    def variables(self, params: Any, vectors: jax.Array) -> Any:
        """The variables of the model with the vectors `[P, D]` at the trigger places."""
        return {**params, TUNED: unflatten_dict({f"{self._path}/prompt": vectors}, sep="/")}

    def loss(self, params: Any, vectors: jax.Array, batch: Batch) -> jax.Array:
        """The mean loss of the weighted tokens of a batch with trigger places.

        Args:
          params: those of the model, as an argument of compiled functions.
          vectors: `[P, D]`.
          batch: as `language_loss` takes it; trigger place p is the token V + p.
        """
        found = language_loss(self.spec.build(), self.variables(params, vectors), batch, None)
        return found.total / jnp.maximum(found.weight, 1.0)

    @functools.cached_property
    def scores(self) -> Callable[[Any, jax.Array, jax.Array, Batch], jax.Array]:
        """Compiled: parameters, table, tokens `[P]` and a batch to first-order scores `[P, V]`."""

        def run(params: Any, table: jax.Array, tokens: jax.Array, batch: Batch) -> jax.Array:
            gradient = jax.grad(self.loss, argnums=1)(params, jnp.take(table, tokens, 0), batch)
            return replacement_scores(gradient, table, tokens)

        return jax.jit(run)

    @functools.cached_property
    def losses(self) -> Callable[[Any, jax.Array, jax.Array, Batch], jax.Array]:
        """Compiled: parameters, table, K prompts of tokens `[K, P]` and a batch to K losses."""

        def run(params: Any, table: jax.Array, prompts: jax.Array, batch: Batch) -> jax.Array:
            def one(tokens: jax.Array) -> jax.Array:
                return self.loss(params, jnp.take(table, tokens, 0), batch)

            # One prompt at a time: all of them at once would need K times the memory.
            return jax.lax.map(one, prompts)

        return jax.jit(run)


def search_triggers(
    model: TriggerModel,
    batches: Iterator[Batch],
    start: tuple[int, ...],
    allowed: np.ndarray,
    options: TriggerOptions,
    accept: Callable[[tuple[int, ...]], bool] = lambda tokens: True,
) -> list[TriggerStep]:
    """Replace tokens of a prompt while that lowers the loss.

    Each step takes one place. A first batch gives the gradient there, and a second one the losses
    of the present prompt and of K candidates.

    Args:
      model: the frozen model.
      batches: batches of one shape with P trigger places; each step takes two.
      start: P tokens.
      allowed: `[V]` bool, tokens that a prompt may have.
      options: length and width of the search.
      accept: whether a prompt may be tried, such as whether its text is tokenized as it stands. Of
        the tokens by their first-order score, the first K that pass are tried.

    Returns:
      The prompts that were kept, from the start to the last.

    Raises:
      ConfigError: `start` is empty, or fewer tokens are allowed than are to be tried.

    Cost: a step is a pass backward and K + 1 passes forward over a batch.
    """
    count = len(start)
    if not count:
        raise ConfigError("the search needs at least one trigger place; give a text to start from")
    if int(allowed.sum()) < options.candidates:
        raise ConfigError(
            f"{int(allowed.sum())} tokens are allowed, fewer than candidates {options.candidates}; "
            "lower it, or allow more"
        )
    params, table = model.params, model.table
    rng = np.random.default_rng(options.seed)
    tokens = tuple(int(token) for token in start)
    kept = [TriggerStep(step=0, tokens=tokens, before=float("nan"), after=float("nan"))]
    for step in range(1, options.steps + 1):
        place = int(rng.integers(count))
        now = jnp.asarray(tokens, jnp.int32)
        row = np.array(model.scores(params, table, now, next(batches))[place])
        row[~allowed] = np.inf
        row[tokens[place]] = np.inf
        tried = _first(row, tokens, place, options.candidates, accept)
        # A shape of K + 1 prompts for every step; the present one fills it up.
        prompts = [tokens, *tried, *[tokens] * (options.candidates - len(tried))]
        rows = jnp.asarray(prompts, jnp.int32)
        losses = np.asarray(model.losses(params, table, rows, next(batches)))
        best = int(losses.argmin())
        if losses[best] < losses[0]:
            tokens = prompts[best]
            kept.append(
                TriggerStep(
                    step=step, tokens=tokens, before=float(losses[0]), after=float(losses[best])
                )
            )
    return kept


def _first(
    row: np.ndarray,
    tokens: tuple[int, ...],
    place: int,
    count: int,
    accept: Callable[[tuple[int, ...]], bool],
) -> list[tuple[int, ...]]:
    """The prompts with the best `count` replacements at a place that are accepted."""
    found: list[tuple[int, ...]] = []
    for token in np.argsort(row, kind="stable")[: int(np.isfinite(row).sum())].tolist():
        changed = (*tokens[:place], token, *tokens[place + 1 :])
        if accept(changed):
            found.append(changed)
        if len(found) == count:
            break
    return found
