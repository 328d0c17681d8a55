"""Batches that depend on the policy: rollouts, cut into minibatches for several epochs of updates.

    prompts --roll(variables, prompts, number)--> rollout, on the device
                                                    |  for each epoch, in a new order
                                                    v
                                              M minibatches --> fit's step

`roll` is one compiled program and the step of `fit` another; neither changes between epochs, so
nothing is compiled again. Nothing is moved to the host, except that the rollout in progress is part
of a checkpoint, which makes resumption exact in the middle of an epoch.
"""

import base64
import functools
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.train import Batches

# Maps the policy's variables, prompts and the number of the rollout to the rollout, a tree of
# arrays with one row per prompt.
Roll = Callable[[Any, Any, np.ndarray], Any]


class RolloutBatches:
    """Minibatches of rollouts by the newest policy, which `fit` tells them by `follow`.

    Example:
      Two epochs in two minibatches over each rollout of four prompts:

      >>> class Counting:
      ...     first = 0
      ...     def __next__(self):
      ...         self.first += 4
      ...         return np.arange(self.first - 4, self.first)
      ...     def get_state(self):
      ...         return {"first": self.first}
      ...     def set_state(self, state):
      ...         self.first = state["first"]
      >>> def roll(variables, prompts, number):
      ...     return {"answer": variables + prompts}
      >>> batches = RolloutBatches(Counting(), roll, epochs=2, minibatches=2, seed=0)
      >>> batches.follow(100)
      >>> seen = [next(batches)["answer"] for _ in range(4)]
      >>> [sorted(np.concatenate(epoch).tolist()) for epoch in (seen[:2], seen[2:])]
      [[100, 101, 102, 103], [100, 101, 102, 103]]
      >>> batches.follow(200)
      >>> sorted(np.concatenate([next(batches)["answer"] for _ in range(2)]).tolist())
      [204, 205, 206, 207]
    """

    def __init__(
        self,
        prompts: Batches,
        roll: Roll,
        *,
        epochs: int = 1,
        minibatches: int = 1,
        seed: int = 0,
        summary: Callable[[Any], dict[str, float]] = lambda rollout: {},
    ) -> None:
        """Start before the first rollout.

        Args:
          prompts: batches of prompts; the minibatches must divide their rows.
          roll: makes a rollout; a function that JAX can trace, usually jitted.
          epochs: how often each rollout is learned from.
          minibatches: parts of a rollout, each of which is one update.
          seed: seed of the order of the rows.
          summary: metrics of a rollout, to log and to show in place of the loss.
        """
        self._prompts, self._roll = prompts, roll
        self._epochs, self._minibatches, self._seed = epochs, minibatches, seed
        self._number = self._done = 0
        self._rollout: Any = None
        # The rollout of a position that was set; its tree is known once there is a policy.
        self._saved = ""
        self._variables: Any = None
        self._summary, self._last = summary, None

    def follow(self, variables: Any) -> None:
        """Take the policy that makes the next rollout."""
        self._variables = variables

    def values(self) -> dict[str, float]:
        """Return the metrics of the newest rollout."""
        return {} if self._last is None else self._summary(self._last)

    def note(self, values: Mapping[str, float]) -> str:
        """Say these metrics, and the divergence from the reference if the step logs it as "kl"."""
        shown = self.values() | ({"KL": values["kl"]} if "kl" in values else {})
        return "  ".join(f"{name} {value:.4f}" for name, value in shown.items())

    def __next__(self) -> Any:
        """Return the next minibatch: arrays on the device."""
        if self._saved:
            self._rollout, self._saved = self._restored(base64.b64decode(self._saved)), ""
        if self._rollout is None:
            number = np.asarray(self._number, np.int32)
            self._rollout = self._roll(self._variables, next(self._prompts), number)
            self._check_rows()
        self._last = self._rollout
        epoch, part = divmod(self._done, self._minibatches)
        batch = self._rollout if self._minibatches == 1 else self._part(epoch, part)
        self._done += 1
        if self._done == self._epochs * self._minibatches:
            self._rollout, self._done = None, 0
            self._number += 1
        return batch

    def get_state(self) -> dict[str, Any]:
        """Return the position, and the rollout if it is in progress: JSON-serializable."""
        state = self._prompts.get_state()
        saved: dict[str, Any] = {
            "prompts": json.loads(state) if isinstance(state, bytes) else state,
            "rollout": self._number,
            "done": self._done,
        }
        if self._saved:
            saved["arrays"] = self._saved
        elif self._rollout is not None:
            stream = io.BytesIO()
            leaves = jax.device_get(jax.tree.leaves(self._rollout))
            np.savez(stream, allow_pickle=False, **{str(n): x for n, x in enumerate(leaves)})
            saved["arrays"] = base64.b64encode(stream.getvalue()).decode()
        return saved

    def set_state(self, state: Any) -> None:
        """Continue from a position that `get_state` returned.

        Raises:
          DataError: the position is not one of such batches.
        """
        if not isinstance(state, dict) or not {"prompts", "rollout", "done"} <= set(state):
            raise DataError(
                "the position in the checkpoint is not one of rollouts; train in another --run-dir"
            )
        prompts = state["prompts"]
        # Grain's iterators return bytes and take them back.
        as_bytes = isinstance(self._prompts.get_state(), bytes)
        self._prompts.set_state(json.dumps(prompts).encode() if as_bytes else prompts)
        self._number, self._done, self._rollout = state["rollout"], state["done"], None
        self._saved = state.get("arrays", "")

    def _restored(self, data: bytes) -> Any:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            leaves = [file[str(n)] for n in range(len(file.files))]
        return jax.tree.unflatten(self.structure, leaves)

    @functools.cached_property
    def structure(self) -> Any:
        """The tree of a rollout without its arrays, from the shapes of the next prompts."""
        before = self._prompts.get_state()
        prompts = next(self._prompts)
        self._prompts.set_state(before)
        shapes = jax.eval_shape(self._roll, self._variables, prompts, np.zeros((), np.int32))
        return jax.tree.structure(shapes)

    def _check_rows(self) -> None:
        rows = {leaf.shape[:1] for leaf in jax.tree.leaves(self._rollout)}
        if len(rows) != 1 or next(iter(rows)) == () or next(iter(rows))[0] % self._minibatches:
            raise ConfigError(
                f"a rollout of {sorted(rows)} rows does not divide into {self._minibatches} "
                "minibatches; every array needs one row per prompt, and a multiple of them"
            )

    def _part(self, epoch: int, part: int) -> Any:
        """The rows of one minibatch, in the order of its epoch."""
        count = len(jax.tree.leaves(self._rollout)[0])
        rng = np.random.default_rng((self._seed, self._number, epoch))
        rows = np.array_split(rng.permutation(count), self._minibatches)[part]
        return _take(self._rollout, rows.astype(np.int32))


@jax.jit
def _take(rollout: Any, rows: jax.Array) -> Any:
    return jax.tree.map(lambda leaf: leaf[rows], rollout)
