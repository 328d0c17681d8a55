"""Checkpoints: model, optimizer, data iterator and early-stopping record, whole or not at all.

The only importer of Orbax. A step directory appears by an atomic rename, so a killed save leaves
nothing that looks like a checkpoint. The two newest are kept, to resume, and the best, to use.
"""

import json
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from jax.sharding import SingleDeviceSharding
from orbax.checkpoint import checkpoint_managers as policies

from jaxrec.core import DataError, ResourceError


class Checkpoints:
    """Checkpoints below one directory, ordered by step, ranked by `metric` (higher is better)."""

    def __init__(self, directory: Path, metric: str) -> None:
        """Open `directory`, making it if needed, and sweep up what a killed save left.

        Raises:
          ResourceError: it cannot be made.
          DataError: the record of a step is damaged.
        """
        self.directory = directory.resolve()
        keep = policies.AnyPreservationPolicy(
            [
                policies.LatestN(2),
                policies.BestN(get_metric_fn=lambda m: m[metric], n=1),
            ]
        )
        options = ocp.CheckpointManagerOptions(
            preservation_policy=keep,
            best_fn=lambda m: m[metric],
            cleanup_tmp_directories=True,
            enable_async_checkpointing=False,
        )
        try:
            self._manager = ocp.CheckpointManager(self.directory, options=options)
            self._manager.best_step()  # reads every step's metrics, which may be damaged
        except OSError as error:
            raise ResourceError(f"cannot use {directory} for checkpoints: {error}") from error
        except ValueError as error:
            steps = [int(p.name) for p in self.directory.iterdir() if p.name.isdigit()]
            newest = self.directory / str(max(steps, default=0))
            raise DataError(
                f"checkpoint {newest} cannot be read ({_one_line(error)}); delete that directory "
                "to go on from the one before, or start over"
            ) from error

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()

    @property
    def latest(self) -> int | None:
        """Newest step, or None."""
        return self._manager.latest_step()

    @property
    def best(self) -> int | None:
        """Step with the highest metric, or None."""
        return self._manager.best_step()

    def save(self, step: int, state: Any, record: dict[str, Any], metrics: dict[str, Any]) -> None:
        """Save one step.

        Args:
          step: its number.
          state: tree of arrays.
          record: JSON-able: iterator state and whatever else resuming needs.
          metrics: JSON-able scalars; must hold the ranking metric.

        Raises:
          ResourceError: the disk is full or not writable; earlier checkpoints are untouched.
        """
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state), record=ocp.args.JsonSave(record)
        )
        try:
            self._manager.save(step, args=items, metrics=metrics, force=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise ResourceError(
                f"could not save step {step} to {self.directory} ({_one_line(error)}); free space "
                "and start the same command again to resume"
            ) from error

    def restore(self, step: int, target: Any) -> tuple[Any, dict[str, Any]]:
        """Read one step.

        Args:
          step: its number.
          target: tree of arrays or `jax.ShapeDtypeStruct` with the shardings wanted.

        Returns:
          state like `target`, and the record.

        Raises:
          DataError: missing, damaged, or of another shape than `target`.
        """
        abstract = jax.tree.map(_abstract, target)
        items = ocp.args.Composite(
            state=ocp.args.StandardRestore(abstract), record=ocp.args.JsonRestore()
        )
        try:
            found = self._manager.restore(step, args=items)
        except Exception as error:  # Orbax and tensorstore raise a dozen kinds for a damaged file
            raise DataError(
                f"checkpoint {self.directory / str(step)} cannot be read ({_one_line(error)}); "
                "delete that directory to go on from the one before, or start over"
            ) from error
        return found["state"], found["record"]


def load_params(directory: Path, metric: str, target: Any, base: str = "") -> tuple[Any, int]:
    """Read the trained parameters of the best checkpoint.

    Args:
      directory: where `Checkpoints` saved.
      metric: the ranking metric.
      target: tree of `TrainState`, arrays or shapes.
      base: what the frozen parameters are, as `fit` was told.

    Returns:
      The parameters (their moving average where one is kept) and their step.

    Raises:
      DataError: no checkpoint there, a damaged one, or one that was trained on another base.
    """
    if not directory.is_dir():
        raise DataError(f"no checkpoints at {directory}; train the run first: jaxrec train")
    with Checkpoints(directory, metric) as checkpoints:
        if checkpoints.best is None:
            raise DataError(f"no checkpoint in {directory}; train the run first: jaxrec train")
        state, record = checkpoints.restore(checkpoints.best, target)
        check_base(record, base, directory)
        return state.measured, checkpoints.best


def check_base(record: dict[str, Any], base: str, directory: Path) -> None:
    """Reject frozen parameters other than those that a checkpoint was trained beside.

    Raises:
      DataError: naming both.
    """
    trained = record.get("base", "")
    if trained != base:
        raise DataError(
            f"{directory} was trained on the frozen parameters {trained or 'of no base'}, and they "
            f"are now {base or 'of no base'}; restore the base, or give another --run-dir"
        )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    # Without a sharding Orbax would restore to the devices that the file was saved from.
    sharding = leaf.sharding or SingleDeviceSharding(jax.devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def iterator_state(iterator: Any) -> dict[str, Any]:
    """Return the state of a Grain iterator as JSON-able data."""
    state = iterator.get_state()
    return json.loads(state.decode()) if isinstance(state, bytes) else state
