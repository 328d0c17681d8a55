"""The training loop: steps, validations, checkpoints, early stopping, exact resume."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import jax

from jaxrec.core import (
    CompileCounter,
    Interrupted,
    batch_shard,
    batch_sharding,
    broadcast,
    global_batch,
    locked,
)
from jaxrec.train.checkpoint import Checkpoints, check_base, iterator_state
from jaxrec.train.checksums import Checked
from jaxrec.train.config import TrainConfig
from jaxrec.train.divergence import LossWatch
from jaxrec.train.meter import Measure, Meter
from jaxrec.train.metrics import MetricWriter
from jaxrec.train.plan import Plan
from jaxrec.train.progress import ProgressBar
from jaxrec.train.step import TrainState, initial_params, shardings, start_state
from jaxrec.train.stopping import StopRequests
from jaxrec.train.trace import Trace

Evaluate = Callable[[Any], dict[str, float]]


class Batches(Protocol):
    """A checkpointable infinite iterator, such as Grain's."""

    def __next__(self) -> Any:
        """Return the next batch."""

    def get_state(self) -> Any:
        """Return the position, JSON-able or JSON as bytes."""

    def set_state(self, state: Any) -> None:
        """Go to a position."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitResult:
    """How a run ended.

    Attributes:
      params: variables of the model at the best validation, frozen ones included.
      best_step: its step.
      metrics: its validation metrics.
      steps: steps trained, over all sittings.
      seconds: this sitting's wall-clock.
      compiles_after_warmup: compilations after the first step and the first validation; 0 is right.
    """

    params: Any
    best_step: int
    metrics: dict[str, float]
    steps: int
    seconds: float
    compiles_after_warmup: int


@dataclasses.dataclass(kw_only=True)
class Standing:
    """How far a run has come, apart from its arrays: JSON-able.

    Attributes:
      iterator: position in the batches.
      base: what the frozen parameters are.
      best: highest metric of a validation; None before the first.
      bad: validations since then.
      first_loss: of the first step; None before anybody looked.
    """

    iterator: Any = None
    base: str = ""
    best: float | None = None
    bad: int = 0
    first_loss: float | None = None


def fit(
    plan: Plan,
    batches: Batches,
    evaluate: Evaluate,
    directory: Path,
    *,
    frozen: Any = None,
    start: Callable[[], Any] | None = None,
    base: str = "",
    metric: str = "ndcg@10",
    title: str = "train",
    measure: Measure | None = None,
    profile: bool = False,
) -> FitResult:
    """Train, or go on training what `directory` holds, to the end.

    A run that was killed at any moment and started again ends with the parameters of the unbroken
    one: a checkpoint holds the state, the iterator's position and the early-stopping record, and a
    step's randomness depends on nothing but the seed and its number. Frozen parameters are in no
    checkpoint.

    In several processes all call this alike, each with the batches' rows of `batch_shard`.

    Args:
      plan: of `make_plan`.
      batches: trees of arrays like the plan's; other shapes cost a compilation each.
      evaluate: the model's variables to validation metrics; called every `eval_every` steps.
      directory: gets `checkpoints/`, `metrics.jsonl` and `tb/`, and is locked meanwhile.
      frozen: arrays of the frozen tree.
      start: gives the trainable tree to begin from, whose arrays are donated; None for what
        the plan's `init` gives.
      base: what the frozen parameters are, such as their checksum; a run resumes on no others.
      metric: the one that ranks checkpoints, higher is better.
      title: of the progress bar.
      measure: tokens and cells of a batch; None to log neither tokens a second nor padding.
      profile: write a trace of some steps to `profile/`.

    Raises:
      DataError: all checkpoints are damaged, or they are of another base or model.
      DivergedError: a loss or a parameter is not finite, or a loss explodes.
      Interrupted: SIGTERM or Ctrl-C; the last step is saved.
      ResourceError: the disk is full, or another process has the directory.
    """
    config, begun = plan.config, time.monotonic()
    with (
        locked(directory),
        Checkpoints(directory / "checkpoints", config.keep) as checkpoints,
        CompileCounter() as compiles,
        StopRequests() as stop,
    ):
        step, state, standing = _begin(plan, checkpoints, start, base)
        if standing.iterator is not None:
            batches.set_state(standing.iterator)
        frozen = jax.device_put(frozen, shardings(plan.frozen))
        with (
            MetricWriter(directory, step) as writer,
            ProgressBar(title, config.steps) as bar,
            Trace(directory / "profile" if profile else None, step) as trace,
        ):
            bar.update(step, f"resumed at {step}" if step else "")
            place = batch_sharding(plan.mesh, plan.rules)
            ratio, first = config.max_loss_ratio, standing.first_loss
            watch = LossWatch(batches, place, directory, ratio, first)
            meter = Meter(compiles, measure, batch_shard(place)[1])
            sitting = _Sitting(
                plan=plan,
                batches=batches,
                frozen=frozen,
                standing=standing,
                checkpoints=checkpoints,
                writer=writer,
                bar=bar,
                watch=watch,
                stop=stop,
                meter=meter,
                trace=trace,
            )
            step = sitting.train(step, state, evaluate, metric)
        checkpoints.wait()
        best_step, state, _ = checkpoints.restore_best(plan.state)
        params = plan.join(state.measured, frozen)
        metrics = evaluate(params)
    return FitResult(
        params=params,
        best_step=best_step,
        metrics=metrics,
        steps=step,
        seconds=time.monotonic() - begun,
        compiles_after_warmup=meter.surplus,
    )


def _begin(
    plan: Plan, checkpoints: Checkpoints, start: Callable[[], Any] | None, base: str
) -> tuple[int, TrainState, Standing]:
    """The newest checkpoint that is whole, or the state before the first step."""
    found = checkpoints.restore_newest(plan.state)
    if found is not None:
        step, state, record = found
        check_base(record, base, checkpoints.directory)
        return step, state, Standing(**record)
    params = start() if start else initial_params(plan.init, plan.state, plan.config)
    params = jax.device_put(params, shardings(plan.state.params))
    return 0, start_state(params, plan.optimizer, plan.state), Standing(base=base)


@dataclasses.dataclass(kw_only=True)
class _Sitting:
    """One process's part of a run, from its start or resumption to its end or interruption."""

    plan: Plan
    batches: Batches
    frozen: Any
    standing: Standing
    checkpoints: Checkpoints
    writer: MetricWriter
    bar: ProgressBar
    watch: LossWatch
    stop: StopRequests
    meter: Meter
    trace: Trace

    def train(self, step: int, state: TrainState, evaluate: Evaluate, metric: str) -> int:
        """Train from a step to the last, and return that."""
        config, place = self.plan.config, batch_sharding(self.plan.mesh, self.plan.rules)
        self.meter.restart()
        while step < config.steps and not _stopped(self.standing.bad, config):
            with self.trace.before(step):
                with self.meter.waiting():
                    local = next(self.batches)
                batch = global_batch(local, place)
                state, found = self.plan.step(state, batch, self.frozen)
            step += 1
            self.trace.after(step, found)
            self.meter.add(local, self.plan.step_flops(batch))
            self.watch.add(step, found)
            self.bar.update(step)
            asked, last = self.stop.asked(step), step == config.steps
            if step % config.log_every == 0 or last:
                self.watch.look()
                values = {name: float(value) for name, value in found.items()}
                values |= self.meter.values()
                self.writer.write(step, values)
                self.bar.update(step, f"loss {values['loss']:.3f}  {self._best_note(metric)}")
                self.meter.warn(step)
            if step % config.eval_every == 0 or last:
                self._validate(step, state, evaluate, metric)
                self.meter.restart()
            elif asked:
                self._save(step, state, self.watch.check(step, state), None)
            if asked and not last:
                self.checkpoints.wait()
                raise Interrupted(
                    f"asked to stop; step {step} of {config.steps} is saved in "
                    f"{self.checkpoints.directory}; start the same command again to resume"
                )
        return step

    def _validate(self, step: int, state: TrainState, evaluate: Evaluate, metric: str) -> None:
        """Measure a step and save it, unless it is one that nobody should go on from."""
        checked = self.watch.check(step, state)
        # Process 0's, so that all stop early after the same validation.
        metrics = broadcast(evaluate(self.plan.join(state.measured, self.frozen)))
        score, standing = float(metrics[metric]), self.standing
        better = standing.best is None or score > standing.best
        standing.best, standing.bad = (score, 0) if better else (standing.best, standing.bad + 1)
        self.writer.write(step, {f"valid/{name}": value for name, value in metrics.items()})
        self._save(step, state, checked, score)
        self.bar.update(step, self._best_note(metric))
        self.meter.warm(step)

    def _save(self, step: int, state: TrainState, checked: Checked, score: float | None) -> None:
        self.standing.iterator = iterator_state(self.batches)
        self.standing.first_loss = self.watch.first_loss
        self.checkpoints.save(step, state, dataclasses.asdict(self.standing), score, checked)

    def _best_note(self, metric: str) -> str:
        best = self.standing.best
        return "" if best is None else f"best {metric} {best:.4f}"


def _stopped(bad: int, config: TrainConfig) -> bool:
    return bool(config.patience) and bad >= config.patience
