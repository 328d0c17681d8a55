"""Checkpoints: everything a run needs to resume, saved atomically and verified when read.

    checkpoints/250/                         state/ the arrays, record/ everything else
    checkpoints/500.damaged/                 set aside, because it did not read back as written
    checkpoints/750.orbax-checkpoint-tmp/    being written, or left behind by a killed process
    checkpoints/.removed/                    no longer kept, and deleted before the next save

This is the only file that imports Orbax. A save copies the arrays to the host and returns; a thread
writes them, and the directory of the step appears by an atomic rename. The record holds a checksum
of every array and of itself, so a checkpoint is either exactly what was saved or known to be
damaged.
"""

import contextlib
import hashlib
import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
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
    check_name,
    is_writer,
    on_writer,
)
from jaxrec.train.checksums import Checked, check, describe
from jaxrec.train.identity import check_base, check_owner
from jaxrec.train.quiet import quiet_saving, without_warnings

DAMAGED = ".damaged"
_STATE, _RECORD = "state", "record"
_UNFINISHED, _ATTEMPTS = ".orbax-checkpoint-tmp", 50
# Where a step that is no longer kept is moved at once, so that a kill cannot leave half of it.
_REMOVED = ".removed"
# Errors of Orbax and tensorstore when a file cannot be written, at once or later from a thread.
_WRITING = (OSError, ValueError, RuntimeError)


class Checkpoints:
    """The checkpoints in one directory, by step, some of them with a score (higher is better)."""

    def __init__(self, directory: Path, keep: int = 2, *, read_only: bool = False) -> None:
        """Open `directory`, creating it if needed, and remove what a killed save left behind.

        Args:
          directory: checkpoint directory of one run.
          keep: number of newest checkpoints to keep, in addition to the best one.
          read_only: change nothing, because another process may be training. A step whose record
            cannot be read is left out; `best` raises if it may be the best.

        Raises:
          ConfigError: the directory's name is not UTF-8.
          ResourceError: the directory cannot be created.
        """
        check_name(directory)
        self.directory = directory.resolve()
        self._keep = _Keep(keep)
        self._unreadable: dict[int, Damaged] = {}
        self._quiet = contextlib.ExitStack()
        if not read_only:
            on_writer(self._sweep)
        try:
            with without_warnings() if read_only else contextlib.nullcontext():
                options = ocp.CheckpointManagerOptions(
                    preservation_policy=self._keep,
                    create=not read_only,
                    read_only=read_only,
                    save_root_metadata=False,
                    todelete_subdir=None if read_only else _REMOVED,
                )
                self._manager = _Manager(self.directory, options=options)
        except OSError as error:
            raise ResourceError(f"cannot use {directory} for checkpoints: {error}") from error
        for step in self.steps:
            self._read_score(step, read_only)

    def __enter__(self) -> "Checkpoints":
        self._quiet.enter_context(quiet_saving())
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        with self._quiet:
            try:
                self._manager.close()
            except _WRITING as error:
                if kind is None:
                    raise self._failed(error) from error

    @property
    def steps(self) -> list[int]:
        """All saved steps, oldest first."""
        return sorted(self._manager.all_steps())

    @property
    def best(self) -> int | None:
        """The step with the highest score, the last among equals; None if there are no scores.

        Raises:
          Damaged: the record of a step that may be the best cannot be read.
        """
        steps = self.steps
        best = self._keep.best([step for step in steps if step not in self._unreadable])
        lost = [step for step in steps if step in self._unreadable]
        if lost and (best is None or steps[-1] in lost or not self._surpassed(best, steps[-1])):
            raise self._unreadable[lost[-1]]
        return best

    def _surpassed(self, best: int, newest: int) -> bool:
        """Whether the record of the newest step says that no step was better than `best`."""
        highest = self._read_record(newest)["record"].get("best")
        score = self._keep.scores[best]
        return highest is not None and score is not None and score >= highest

    def save(
        self,
        step: int,
        state: Any,
        record: dict[str, Any],
        score: float | None = None,
        checked: Checked | None = None,
    ) -> None:
        """Save one step. Returns when the arrays may change again, before they are on disk.

        Args:
          step: its number.
          state: tree of arrays.
          record: JSON-serializable; the state of the iterator and whatever else resuming needs.
          score: ranks the checkpoint; None if it was not measured.
          checked: result of `check(state)`, if it is available.

        Raises:
          DivergedError: an array holds an infinity or a NaN. Nothing is written.
          ResourceError: this save or the one before it failed; earlier checkpoints are unchanged.
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
        on_writer(self._empty)
        try:
            self._manager.save(step, args=items, force=True)
        except _WRITING as error:
            raise self._failed(error) from error

    def wait(self) -> None:
        """Wait until everything that was saved is on disk.

        Raises:
          ResourceError: writing failed; earlier checkpoints are unchanged.
        """
        try:
            self._manager.wait_until_finished()
        except _WRITING as error:
            raise self._failed(error) from error

    def restore(self, step: int, target: Any) -> tuple[Any, dict[str, Any]]:
        """Read one step onto the mesh of `target`.

        Args:
          step: its number.
          target: tree of arrays or `jax.ShapeDtypeStruct` with the wanted shardings.

        Returns:
          The state, with the structure of `target`, and the record.

        Raises:
          Damaged: the checkpoint does not read back as it was written.
          DataError: the checkpoint belongs to another model than `target`.
          DivergedError: an array holds an infinity or a NaN.
        """
        record: dict[str, Any] = {}
        state, damage = None, None
        try:
            record = self._read_record(step)
            self._check_shapes(step, record["leaves"], target)
            state = self._read_state(step, target)
        except Damaged as error:
            damage = error
        # Each process reads its own part; a collective would hang unless all of them succeeded.
        if not all_agree(damage is None):
            raise damage or self._damaged(step, "another process could not read it")
        checked = check(state)
        leaves, bad = checked.leaves, checked.not_finite
        wrong = [path for path, row in leaves.items() if row != record["leaves"][path]]
        if wrong:
            reason = f"{len(wrong)} of {len(leaves)} arrays have another checksum, among them"
            raise self._damaged(step, f"{reason} {wrong[0]}")
        if bad:
            raise DivergedError(
                f"checkpoint {self.directory / str(step)} holds infinities or NaN in {bad[0]} "
                f"({len(bad)} of {len(leaves)} arrays), so the model computes nothing of use; "
                "train the run again in another directory"
            )
        return state, record["record"]

    def restore_newest(self, target: Any) -> tuple[int, Any, dict[str, Any]] | None:
        """Read the newest intact step; damaged ones are set aside with a warning.

        Returns:
          Its number, state and record; None if there is no checkpoint.

        Raises:
          DataError: checkpoints exist, but all of them are damaged.
        """
        for step in reversed(self.steps):
            try:
                return step, *self.restore(step, target)
            except Damaged as error:
                self._set_aside(step, error)
        aside = sorted(self.directory.glob(f"*{DAMAGED}*"))
        if aside:
            raise DataError(
                f"every checkpoint in {self.directory} is damaged (for instance {aside[-1].name}); "
                "restore one from a backup, or delete the directory to start over"
            )
        return None

    def restore_best(self, target: Any) -> tuple[int, Any, dict[str, Any]]:
        """Read the best intact step; damaged ones are set aside with a warning.

        Raises:
          DataError: no step with a score is left.
        """
        while self.best is not None:
            step = self.best
            try:
                return step, *self.restore(step, target)
            except Damaged as error:
                self._set_aside(step, error)
        raise DataError(
            f"no checkpoint with a validation score is left in {self.directory}; train the run "
            "again in another directory"
        )

    def _sweep(self) -> None:
        """Remove unfinished saves; Orbax would remove them while the next save is being written."""
        self._empty()
        for path in self.directory.glob(f"*{_UNFINISHED}*"):
            for attempt in range(_ATTEMPTS):
                try:
                    shutil.rmtree(path)
                    break
                except FileNotFoundError:
                    break
                except OSError as error:
                    # Threads of a failed save of this process may still be writing there.
                    if attempt == _ATTEMPTS - 1:
                        raise ResourceError(f"cannot remove {path}: {error}") from error
                    time.sleep(0.1)

    def _empty(self) -> None:
        """Delete the steps that are no longer kept."""
        shutil.rmtree(self.directory / _REMOVED, ignore_errors=True)

    def _read_score(self, step: int, read_only: bool) -> None:
        """Read the score of a step, or set the step aside, because it cannot be ranked without."""
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
        elif (self.directory / str(step)).exists():  # the training process may have removed it
            self._unreadable[step] = Damaged(damage)

    def _read_record(self, step: int) -> dict[str, Any]:
        try:
            content = ocp.JsonCheckpointHandler().restore(
                self._manager.directory / str(step) / _RECORD
            )
            if _digest(content["body"]) == content["sha256"]:
                return content["body"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._damaged(step, _one_line(error)) from error
        raise self._damaged(step, "its record has another checksum")

    def _check_shapes(self, step: int, leaves: dict[str, Any], target: Any) -> None:
        saved = {path: row[:2] for path, row in leaves.items()}
        wanted = describe(target)
        for path in saved | wanted:
            if saved.get(path) != wanted.get(path):
                raise DataError(
                    f"checkpoint {self.directory / str(step)} belongs to another model: {path} is "
                    f"{_shown(saved.get(path))} there and {_shown(wanted.get(path))} here; use the "
                    "settings that it was trained with, or another directory"
                )

    def _read_state(self, step: int, target: Any) -> Any:
        abstract = jax.tree.map(_abstract, target)
        path = self._manager.directory / str(step) / _STATE
        try:
            # The manager would make every process wait for all others, so it is not used here.
            return ocp.StandardCheckpointHandler().restore(
                path, args=ocp.args.StandardRestore(abstract)
            )
        except Exception as error:  # a damaged file raises any of a dozen kinds of error
            raise self._damaged(step, _one_line(error)) from error

    def _damaged(self, step: int, reason: str) -> "Damaged":
        return Damaged(
            f"checkpoint {self.directory / str(step)} is damaged ({reason}); `jaxrec train` sets "
            "it aside and resumes from the one before it"
        )

    def _set_aside(self, step: int, reason: "Damaged") -> None:
        """Rename a damaged step, so that nothing is lost and nothing reads it."""
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
            then = f"resuming from step {left[-1]}" if left else "no other checkpoint is left"
            words = str(reason).split(";")[0]
            print(f"warning: {words}; it is set aside as {aside.name}, {then}", file=sys.stderr)

    def _failed(self, error: Exception) -> ResourceError:
        return ResourceError(
            f"cannot save a checkpoint to {self.directory} ({_one_line(error)}); free space on the "
            "disk and start the same command again to resume from the last checkpoint"
        )


class Damaged(DataError):
    """Raised if a checkpoint does not read back as it was written."""


class _Manager(ocp.CheckpointManager):
    """Orbax's manager, prevented from asking for a preemption itself.

    It would ask from its thread and for a step that has passed. That would confuse the processes
    while they agree on the step at which they stop.
    """

    def reached_preemption(self, step: int) -> bool:
        return False


class _Keep:
    """Orbax's preservation policy: keep the newest few and the best of the measured checkpoints."""

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


def load_params(
    directory: Path, target: Any, base: str = "", run: Mapping[str, str] | None = None
) -> tuple[Any, int]:
    """Read the trained parameters of the best checkpoint, without changing anything.

    Args:
      directory: the directory of `Checkpoints`.
      target: tree of `TrainState`, arrays or shapes.
      base: identity of the frozen parameters, the `base` of `Start`.
      run: identity of the run, the `run` of `Start`; None checks nothing.

    Returns:
      The parameters (their moving average if one is kept) and their step.

    Raises:
      DataError: there is no checkpoint, it is damaged, or it belongs to another run or base.
      DivergedError: an array holds an infinity or a NaN.
    """
    if not directory.is_dir():
        raise DataError(f"no checkpoints in {directory}; train the run first with `jaxrec train`")
    with Checkpoints(directory, read_only=True) as checkpoints:
        if checkpoints.best is None:
            for step in checkpoints.steps[-1:]:
                checkpoints.restore(step, target)  # raises Damaged if that is the reason
            raise DataError(
                f"no checkpoint with a validation score in {directory}; train the run up to its "
                "first validation with `jaxrec train`"
            )
        state, record = checkpoints.restore(checkpoints.best, target)
        check_owner(record, run or {}, directory)
        check_base(record, base, directory)
        return state.measured, checkpoints.best


def iterator_state(iterator: Any) -> dict[str, Any]:
    """Return the state of a Grain iterator as JSON-serializable data."""
    state = iterator.get_state()
    return json.loads(state.decode()) if isinstance(state, bytes) else state


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _shown(row: Sequence[Any] | None) -> str:
    return "absent" if row is None else f"{row[0]} {row[1]}"


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    # Without a sharding, Orbax would restore to the devices that the file was saved from.
    sharding = leaf.sharding or SingleDeviceSharding(jax.devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
