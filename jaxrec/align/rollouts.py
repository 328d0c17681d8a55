"""Rollouts as an iterator of batches: `fit` draws from it as from any other data.

rollout 0                              rollout 1
epoch 0         epoch 1                epoch 0
b  b  b  b  |  b  b  b  b  |  ...  ||  b  b  b  b  |  ...

The first batch of a rollout needs the parameters; the others are minibatches of its episodes, in a
new order each epoch. The position of the iterator holds the rollout that is in use, so a run that
is killed in the middle of an epoch resumes exactly. Prompts, orders and random keys follow from the
seed and the number of the rollout.
"""

import base64
import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.align.episodes import judge_episodes
from jaxrec.align.kl import AdaptiveKL
from jaxrec.align.masked import whiten
from jaxrec.align.objective import TEXT
from jaxrec.align.task import PpoTask
from jaxrec.core import ConfigError, DataError
from jaxrec.train import Batches

_PROMPTS, _ORDER = 0, 1  # what the random numbers of a rollout are for


class Rollouts:
    """An endless iterator of minibatches of what the policy wrote; see `OnPolicy`.

    Example:
      >>> from jaxrec.align import Actor, PpoSettings, PpoTask, host_reward
      >>> from jaxrec.models import CausalLM
      >>> from jaxrec.testing import random_params, tiny_model
      >>> model = CausalLM(tiny_model())
      >>> task = PpoTask(
      ...     actor=Actor(model=model),
      ...     reference=random_params(model),
      ...     prompts=np.array([[3, 4]]),
      ...     valid=np.array([[True, True]]),
      ...     reward=host_reward(lambda prompts, responses: [0.0] * len(prompts), "nothing"),
      ...     settings=PpoSettings(response=8, temperature=1.0, minibatches=4),
      ... )
      >>> Rollouts(task, batch_size=16, seed=0).episodes
      64
    """

    def __init__(
        self, task: PpoTask, *, batch_size: int, seed: int, text: Batches | None = None
    ) -> None:
        """Start before the first rollout; nothing is computed yet.

        Args:
          task: prompts, policy, reference, reward and settings.
          batch_size: episodes of a minibatch.
          seed: seed of prompts, orders and responses.
          text: batches of pre-training text ("tokens", "valid", "weights", as for `language_loss`),
            with as many rows as a minibatch; needed if `pretraining_weight` is not 0.

        Raises:
          ConfigError: several processes, fewer than one episode, or pre-training text without a
            weight or the reverse.
        """
        settings = task.settings
        if jax.process_count() > 1:
            raise ConfigError(
                f"rollouts run in one process, and this job has {jax.process_count()}; start one "
                "process, which uses all devices of its machine"
            )
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {batch_size}")
        if (text is not None) != (settings.pretraining_weight > 0):
            raise ConfigError(
                f"ppo.pretraining_weight is {settings.pretraining_weight:g} and there is "
                f"{'no' if text is None else 'some'} pre-training text; give both or neither"
            )
        self.task, self.batch_size, self._seed, self._text = task, batch_size, seed, text
        self._controller = (
            AdaptiveKL(settings.kl_target, settings.kl_horizon) if settings.kl_target else None
        )
        self._beta = settings.beta
        self._rollout = 0  # number of rollouts that were written
        self._place = settings.updates  # batches of the last one that were used
        self._rows: dict[str, Any] = {}
        self._metrics: dict[str, Any] = {}
        self._variables: Any = None

    @property
    def episodes(self) -> int:
        """Number of episodes of a rollout."""
        return self.batch_size * self.task.settings.minibatches

    def __iter__(self) -> Iterator[Any]:
        return self

    def follow(self, variables: Any) -> None:
        """Take the variables of the policy, which are read if a new rollout is due."""
        self._variables = variables

    def __next__(self) -> dict[str, jax.Array]:
        """Return the next minibatch.

        "tokens", "valid" `[b, T]`; "weights", "logprobs", "values", "advantages", "returns"
        `[b, R]`; and "text_tokens", "text_valid", "text_weights" of pre-training text. Weights add
        up to the number of rows b.

        Raises:
          DataError: the reward fails; the position of the iterator stays before the rollout.
        """
        settings = self.task.settings
        if self._place >= settings.updates:
            self._write()
        epoch, part = divmod(self._place, settings.minibatches)
        order = self._random(_ORDER, self._rollout - 1, epoch).permutation(self.episodes)
        chosen = order[part * self.batch_size : (part + 1) * self.batch_size]
        batch = _minibatch(
            self._rows, jnp.asarray(chosen, jnp.int32), whitened=settings.whiten == "minibatch"
        )
        if self._text is not None:
            batch |= _weighted(next(self._text), self.batch_size)
        self._place += 1
        return batch

    def _write(self) -> None:
        """Write and score a rollout; nothing changes if that fails."""
        if self._variables is None:
            raise ConfigError("rollouts need a policy: call follow(variables) before next()")
        number = self._rollout
        key = jax.random.fold_in(jax.random.key(self._seed), number)
        episodes = self.task.write(self._variables, self._prompts(number), key)
        scores = self.task.reward.score(episodes, f"rollout {number}")
        # A Python number would be a constant of the program, which would compile for each of them.
        beta = jnp.float32(self._beta)
        self._rows, self._metrics = judge_episodes(
            episodes, jnp.asarray(scores), beta, self.task.settings
        )
        if self._controller is not None:
            kl = float(self._metrics["kl"])
            self._beta = self._controller.update(self._beta, kl, self.episodes)
        self._rollout, self._place = number + 1, 0

    def _prompts(self, rollout: int) -> np.ndarray:
        """Numbers of the prompts of a rollout: every prompt once before any comes again."""
        count = len(self.task.prompts)
        places = np.arange(rollout * self.episodes, (rollout + 1) * self.episodes)
        orders = {
            epoch: self._random(_PROMPTS, epoch).permutation(count)
            for epoch in np.unique(places // count).tolist()
        }
        return np.array([orders[place // count][place % count] for place in places.tolist()])

    def _random(self, *use: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, *use])

    def values(self) -> dict[str, float]:
        """Return the metrics of the last rollout; see `judge_episodes`."""
        return {name: float(value) for name, value in self._metrics.items()}

    def note(self, values: Mapping[str, float]) -> str:
        """Say score and divergence of the last rollout, and the budget of the latter."""
        budget = self.task.settings.kl_budget
        of = f" of {budget:g}" if budget else ""
        return f"score {values['score']:.2f}  KL {values['kl']:.2f}{of}"

    def get_state(self) -> dict[str, Any]:
        """Return the position with the rollout in use: JSON-serializable."""
        used_up = self._place >= self.task.settings.updates
        return {
            "rollout": self._rollout,
            "place": self._place,
            "beta": self._beta,
            "rows": {} if used_up else {n: _encode(x) for n, x in self._rows.items()},
            "metrics": self.values(),
            "text": None if self._text is None else _plain(self._text.get_state()),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a position that `get_state` returned.

        Raises:
          DataError: the position is that of rollouts of another shape.
        """
        updates = self.task.settings.updates
        rows = {name: _decode(x) for name, x in state["rows"].items()}
        sizes = {len(x) for x in rows.values()} - {self.episodes}
        if not 0 <= state["place"] <= updates or sizes or (state["place"] < updates) != bool(rows):
            raise DataError(
                f"the checkpoint holds batch {state['place']} of a rollout of "
                f"{max(sizes, default=self.episodes)} episodes, and rollouts have "
                f"{self.episodes} episodes and {updates} batches here; resume with the settings "
                "that it was trained with"
            )
        self._rollout, self._place = state["rollout"], state["place"]
        self._beta, self._metrics = state["beta"], dict(state["metrics"])
        self._rows = {name: jnp.asarray(x) for name, x in rows.items()}
        if self._text is not None:
            self._text.set_state(state["text"])


@functools.partial(jax.jit, static_argnames="whitened")
def _minibatch(
    rows: Mapping[str, jax.Array], chosen: jax.Array, whitened: bool
) -> dict[str, jax.Array]:
    batch = {name: jnp.take(cells, chosen, axis=0) for name, cells in rows.items()}
    mask = batch.pop("mask")
    if whitened:
        batch["advantages"] = whiten(batch["advantages"], mask)
    return batch | {"weights": _spread(mask.astype(jnp.float32))}


def _spread(weights: jax.Array) -> jax.Array:
    """Scale weights so that they add up to the number of rows."""
    return weights * (weights.shape[0] / jnp.maximum(weights.sum(), 1.0))


def _weighted(text: Mapping[str, Any], rows: int) -> dict[str, jax.Array]:
    """Pre-training text as fields of a batch, whose weights as targets add up to its rows."""
    tokens, valid = jnp.asarray(text["tokens"]), jnp.asarray(text["valid"])
    if len(tokens) != rows:
        raise ConfigError(
            f"a batch of pre-training text has {len(tokens)} rows and a minibatch {rows} episodes; "
            "make them equal"
        )
    # The first token of a row is never a target.
    targets = jnp.asarray(text["weights"], jnp.float32) * valid.astype(jnp.float32)
    weights = _spread(targets.at[:, 0].set(0.0))
    fields = {"tokens": tokens, "valid": valid, "weights": weights}
    return {TEXT + name: cells for name, cells in fields.items()}


def _encode(cells: Any) -> dict[str, Any]:
    array = np.ascontiguousarray(cells)
    data = base64.b64encode(array.tobytes()).decode()
    return {"dtype": str(array.dtype), "shape": list(array.shape), "data": data}


def _decode(stored: Mapping[str, Any]) -> np.ndarray:
    data = base64.b64decode(stored["data"])
    return np.frombuffer(data, stored["dtype"]).reshape(stored["shape"])


def _plain(state: Any) -> Any:
    """The state of an iterator as JSON data; Grain returns bytes."""
    return json.loads(state.decode()) if isinstance(state, bytes) else state
