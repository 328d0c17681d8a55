"""Checkpoints: all that a run needs to go on, whole or not at all, and checked when read.

    checkpoints/250/                 state/ the arrays, record/ everything else
    checkpoints/500.damaged/         set aside: it did not read as it was written
    checkpoints/750.orbax-checkpoint-tmp/    being written, or left by a kill

The only importer of Orbax. A save copies the arrays to the host and returns; a thread writes them,
and the step's directory appears by an atomic rename. The record holds a checksum of every array and
of itself, so that a checkpoint is either what was saved or known to be damaged.
"""

import contextlib
import hashlib
import json
import logging
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from jax.sharding import SingleDeviceSharding

from jaxrec.core import (
    DataError,
    DivergedError,
    ResourceError,
    all_agree,
    barrier,
    broadcast,
    is_writer,
    on_writer,
)
from jaxrec.train.checksums import Checked, check, describe

DAMAGED = ".damaged"
_STATE, _RECORD = "state", "record"
_UNFINISHED, _ATTEMPTS = ".orbax-checkpoint-tmp", 50
# What Orbax and tensorstore raise where a file cannot be written, at once or from their threads.
_WRITING = (OSError, ValueError, RuntimeError)


class Checkpoints:
    """Checkpoints below one directory, by step, some of them with a score (higher is better)."""

    def __init__(self, directory: Path, keep: int = 2, *, read_only: bool = False) -> None:
        """Open `directory`, making it if needed, and sweep up what a killed save left.

        Args:
          directory: one run's.
          keep: the newest that are kept, besides the best.
          read_only: change nothing, as another process may be training.

        Raises:
          Damaged: a record does not read, and is not to be set aside.
          ResourceError: the directory cannot be made.
        """
        self.directory = directory.resolve()
        self._keep = _Keep(keep)
        if not read_only:
            on_writer(self._sweep)
        try:
            with _without_warnings() if read_only else contextlib.nullcontext():
                options = ocp.CheckpointManagerOptions(
                    preservation_policy=self._keep,
                    create=not read_only,
                    read_only=read_only,
                    save_root_metadata=False,
                )
                self._manager = _Manager(self.directory, options=options)
        except OSError as error:
            raise ResourceError(f"cannot use {directory} for checkpoints: {error}") from error
        for step in self.steps:
            self._read_score(step, read_only)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            self._manager.close()
        except _WRITING as error:
            if kind is None:
                raise self._failed(error) from error

    @property
    def steps(self) -> list[int]:
        """All there are, oldest first."""
        return sorted(self._manager.all_steps())

    @property
    def best(self) -> int | None:
        """The step of the highest score, the last of equals; None where none has a score."""
        return self._keep.best(self.steps)

    def save(
        self,
        step: int,
        state: Any,
        record: dict[str, Any],
        score: float | None = None,
        checked: Checked | None = None,
    ) -> None:
        """Save one step; returns when the arrays may change again, before they are on disk.

        Args:
          step: its number.
          state: tree of arrays.
          record: JSON-able: iterator state and whatever else resuming needs.
          score: ranks it; None where it was not measured.
          checked: of `check(state)`, where that is at hand.

        Raises:
          DivergedError: an array holds an infinity or a NaN. Nothing is written.
          ResourceError: this save or the one before failed; earlier checkpoints are untouched.
        """
        checked = checked or check(state)
        if checked.not_finite:
            raise DivergedError(f"{checked.not_finite[0]} is not finite; step {step} is not saved")
        body = {"record": record, "score": score, "leaves": checked.leaves}
        items = ocp.args.Composite(
            **{
                _STATE: ocp.args.StandardSave(state),
                _RECORD: ocp.args.JsonSave({"sha256": _digest(body), "body": body}),
            }
        )
        self._keep.scores[step] = score
        try:
            self._manager.save(step, args=items, force=True)
        except _WRITING as error:
            raise self._failed(error) from error

    def wait(self) -> None:
        """Wait until what was saved is on disk.

        Raises:
          ResourceError: it cannot be written; earlier checkpoints are untouched.
        """
        try:
            self._manager.wait_until_finished()
        except _WRITING as error:
            raise self._failed(error) from error

    def restore(self, step: int, target: Any) -> tuple[Any, dict[str, Any]]:
        """Read one step, on whatever mesh `target` says.

        Args:
          step: its number.
          target: tree of arrays or `jax.ShapeDtypeStruct` with the shardings wanted.

        Returns:
          state like `target`, and the record.

        Raises:
          Damaged: it does not read as it was written.
          DataError: it is of another model than `target`.
        """
        record: dict[str, Any] = {}
        state, damage = None, None
        try:
            record = self._read_record(step)
            self._check_shapes(step, record["leaves"], target)
            state = self._read_state(step, target)
        except Damaged as error:
            damage = error
        # Each process reads its own part, and none may go on to a collective without the others.
        if not all_agree(damage is None):
            raise damage or self._damaged(step, "another process could not read it")
        found = check(state).leaves
        wrong = [path for path, row in found.items() if row != record["leaves"][path]]
        if wrong:
            raise self._damaged(
                step, f"{len(wrong)} of {len(found)} arrays have another checksum, as {wrong[0]}"
            )
        return state, record["record"]

    def restore_newest(self, target: Any) -> tuple[int, Any, dict[str, Any]] | None:
        """Read the newest step that is whole, setting damaged ones aside and saying so.

        Returns:
          Its number, state and record; None where there is no checkpoint.

        Raises:
          DataError: there are some, and all are damaged.
        """
        for step in reversed(self.steps):
            try:
                return step, *self.restore(step, target)
            except Damaged as error:
                self._set_aside(step, error)
        aside = sorted(self.directory.glob(f"*{DAMAGED}*"))
        if aside:
            raise DataError(
                f"every checkpoint in {self.directory} is damaged ({aside[-1].name} and the like); "
                "restore one from a copy, or delete the directory to start over"
            )
        return None

    def restore_best(self, target: Any) -> tuple[int, Any, dict[str, Any]]:
        """Read the best step that is whole, setting damaged ones aside and saying so.

        Raises:
          DataError: no step with a score is left.
        """
        while self.best is not None:
            step = self.best
            try:
                return step, *self.restore(step, target)
            except Damaged as error:
                self._set_aside(step, error)
        raise DataError(f"no measured checkpoint is left in {self.directory}; train the run anew")

    def _sweep(self) -> None:
        """Remove what saves left unfinished; Orbax would do so while the next is being written."""
        for path in self.directory.glob(f"*{_UNFINISHED}*"):
            for attempt in range(_ATTEMPTS):
                try:
                    shutil.rmtree(path)
                    break
                except FileNotFoundError:
                    break
                except OSError as error:
                    # Threads of a save that failed in this very process may still be at it.
                    if attempt == _ATTEMPTS - 1:
                        raise ResourceError(f"cannot remove {path}: {error}") from error
                    time.sleep(0.1)

    def _read_score(self, step: int, read_only: bool) -> None:
        """Rank a step, or set it aside: without its record nobody knows which is the best."""
        damage, score = None, None
        if is_writer():
            try:
                score = self._read_record(step)["score"]
            except Damaged as error:
                damage = str(error)
        damage, score = broadcast([damage, score])
        if damage is None:
            self._keep.scores[step] = score
        elif not read_only:
            self._set_aside(step, Damaged(damage))
        elif (self.directory / str(step)).exists():  # or the run has removed it meanwhile
            raise Damaged(damage)

    def _read_record(self, step: int) -> dict[str, Any]:
        try:
            found = ocp.JsonCheckpointHandler().restore(
                self._manager.directory / str(step) / _RECORD
            )
            if _digest(found["body"]) == found["sha256"]:
                return found["body"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._damaged(step, _one_line(error)) from error
        raise self._damaged(step, "its record has another checksum")

    def _check_shapes(self, step: int, leaves: dict[str, Any], target: Any) -> None:
        saved = {path: row[:2] for path, row in leaves.items()}
        wanted = describe(target)
        for path in saved | wanted:
            if saved.get(path) != wanted.get(path):
                raise DataError(
                    f"checkpoint {self.directory / str(step)} is of another model: {path} is "
                    f"{_shown(saved.get(path))} there and {_shown(wanted.get(path))} here; give "
                    "the settings that it was trained with, or another directory"
                )

    def _read_state(self, step: int, target: Any) -> Any:
        abstract = jax.tree.map(_abstract, target)
        path = self._manager.directory / str(step) / _STATE
        try:
            # Not through the manager, which has every process wait for all others.
            return ocp.StandardCheckpointHandler().restore(
                path, args=ocp.args.StandardRestore(abstract)
            )
        except Exception as error:  # Orbax and tensorstore raise a dozen kinds for a damaged file
            raise self._damaged(step, _one_line(error)) from error

    def _damaged(self, step: int, reason: str) -> "Damaged":
        return Damaged(
            f"checkpoint {self.directory / str(step)} is damaged ({reason}); `jaxrec train` sets "
            "it aside and goes on from the one before"
        )

    def _set_aside(self, step: int, reason: "Damaged") -> None:
        """Rename a damaged step, so that nothing is lost and nobody reads it."""
        place = self.directory / str(step)
        aside, count = place.with_name(place.name + DAMAGED), 1
        while aside.exists():
            count += 1
            aside = place.with_name(f"{place.name}{DAMAGED}-{count}")
        barrier("before setting a checkpoint aside")
        if is_writer():
            try:
                place.rename(aside)
            except OSError as error:
                raise ResourceError(f"cannot rename {place} to {aside}: {error}") from error
        barrier("after setting a checkpoint aside")
        self._manager.reload()
        self._keep.scores.pop(step, None)
        if is_writer():
            left = self.steps
            then = f"going on from step {left[-1]}" if left else "no other is left"
            words = str(reason).split(";")[0]
            print(f"warning: {words}; set aside as {aside.name}, {then}", file=sys.stderr)

    def _failed(self, error: Exception) -> ResourceError:
        return ResourceError(
            f"could not save a checkpoint to {self.directory} ({_one_line(error)}); free space "
            "and start the same command again to resume from the last one"
        )


class Damaged(DataError):
    """A checkpoint that does not read as it was written."""


class _Manager(ocp.CheckpointManager):
    """Orbax's, which must not ask for a preemption itself.

    It would, from its thread and for a step that is past, which confuses the processes that are
    just finding out together at which step they stop.
    """

    def reached_preemption(self, step: int) -> bool:
        return False


class _Keep:
    """Orbax's preservation policy: the newest few, and the best of those that were measured."""

    def __init__(self, newest: int) -> None:
        self.newest = newest
        self.scores: dict[int, float | None] = {}

    def best(self, steps: Sequence[int]) -> int | None:
        ranked = [(score, step) for step in steps if (score := self.scores.get(step)) is not None]
        return max(ranked)[1] if ranked else None

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        del context
        steps = [checkpoint.step for checkpoint in checkpoints]
        kept = {*sorted(steps)[-self.newest :], self.best(steps)}
        return [step in kept for step in steps]


def load_params(directory: Path, target: Any, base: str = "") -> tuple[Any, int]:
    """Read the trained parameters of the best checkpoint, changing nothing.

    Args:
      directory: where `Checkpoints` saved.
      target: tree of `TrainState`, arrays or shapes.
      base: what the frozen parameters are, as `fit` was told.

    Returns:
      The parameters (their moving average where one is kept) and their step.

    Raises:
      DataError: no checkpoint there, a damaged one, or one that was trained on another base.
    """
    if not directory.is_dir():
        raise DataError(f"no checkpoints at {directory}; train the run first: jaxrec train")
    with Checkpoints(directory, read_only=True) as checkpoints:
        if checkpoints.best is None:
            for step in checkpoints.steps[-1:]:
                checkpoints.restore(step, target)  # says so where it is damaged
            raise DataError(
                f"no measured checkpoint in {directory}; train the run to its first validation: "
                "jaxrec train"
            )
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


def iterator_state(iterator: Any) -> dict[str, Any]:
    """Return the state of a Grain iterator as JSON-able data."""
    state = iterator.get_state()
    return json.loads(state.decode()) if isinstance(state, bytes) else state


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep from people that what is read alone will not be written, as Orbax warns."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _shown(row: Sequence[Any] | None) -> str:
    return "absent" if row is None else f"{row[0]} {row[1]}"


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    # Without a sharding Orbax would restore to the devices that the file was saved from.
    sharding = leaf.sharding or SingleDeviceSharding(jax.devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
