"""The training loop: steps, validations, checkpoints, early stopping, exact resume."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import jax

from jaxrec.core.compiles import CompileCounter
from jaxrec.core.mesh import batch_sharding
from jaxrec.train.checkpoint import Checkpoints, check_base, iterator_state
from jaxrec.train.config import TrainConfig
from jaxrec.train.metrics import MetricWriter
from jaxrec.train.plan import Plan
from jaxrec.train.progress import ProgressBar
from jaxrec.train.step import initial_params, shardings, start_state


class Batches(Protocol):
    """A checkpointable infinite iterator, such as Grain's."""

    def __next__(self) -> Any:
        """Return the next batch."""

    def get_state(self) -> Any:
        """Return the position, JSON-able or JSON as bytes."""

    def set_state(self, state: Any) -> None:
        """Go to a position."""


@dataclasses.dataclass(frozen=True)
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


def fit(
    plan: Plan,
    batches: Batches,
    evaluate: Callable[[Any], dict[str, float]],
    directory: Path,
    *,
    frozen: Any = None,
    start: Callable[[], Any] | None = None,
    base: str = "",
    metric: str = "ndcg@10",
    title: str = "train",
    measure: Callable[[Any], dict[str, float]] | None = None,
) -> FitResult:
    """Train, or go on training what `directory` holds, to the end.

    A run that was killed at any moment and started again ends with the parameters of the unbroken
    one: a checkpoint holds the state, the iterator's position and the early-stopping record, and a
    step's randomness depends on nothing but the seed and its number. Frozen parameters are in no
    checkpoint.

    Args:
      plan: of `make_plan`.
      batches: trees of arrays like the plan's; other shapes cost a compilation each.
      evaluate: the model's variables to validation metrics; called every `eval_every` steps.
      directory: gets `checkpoints/`, `metrics.jsonl` and `tb/`.
      frozen: arrays of the frozen tree.
      start: gives the trainable tree to begin from, whose arrays are donated; None for what
        the plan's `init` gives.
      base: what the frozen parameters are, such as their checksum; a run resumes on no others.
      metric: the one that ranks checkpoints, higher is better.
      title: of the progress bar.
      measure: from a batch, on the host, to metrics logged beside its loss.

    Raises:
      DataError: a damaged checkpoint, or one of another base.
      ResourceError: the disk is full.
    """
    config, place = plan.config, batch_sharding(plan.mesh, plan.rules)
    started = time.monotonic()
    with (
        Checkpoints(directory / "checkpoints", metric) as checkpoints,
        CompileCounter() as compiles,
    ):
        step, best, bad = 0, -float("inf"), 0
        if checkpoints.latest is not None:
            step = checkpoints.latest
            state, record = checkpoints.restore(step, plan.state)
            check_base(record, base, checkpoints.directory)
            batches.set_state(record["iterator"])
            best, bad = record["best"], record["bad"]
        else:
            params = start() if start else initial_params(plan.init, plan.state, config)
            params = jax.device_put(params, shardings(plan.state.params))
            state = start_state(params, plan.optimizer, plan.state)
        frozen = jax.device_put(frozen, shardings(plan.frozen))
        with (
            MetricWriter(directory, step) as writer,
            ProgressBar(title, config.steps) as bar,
        ):
            bar.update(step, f"resumed at {step}" if step else "")
            # Compilations up to the end of the first validation are warm-up.
            warm, expected, logged = False, 0, (step, time.monotonic())
            while step < config.steps and not _stopped(bad, config):
                local = next(batches)
                state, found = plan.step(state, jax.device_put(local, place), frozen)
                step += 1
                bar.update(step)
                if step % config.log_every == 0 or step == config.steps:
                    values = {name: float(value) for name, value in found.items()}
                    now = time.monotonic()
                    values |= measure(local) if measure else {}
                    values["steps_per_second"] = (step - logged[0]) / (now - logged[1])
                    values["compiles"] = float(compiles.count)
                    logged = (step, now)
                    writer.write(step, values)
                    bar.update(step, f"loss {values['loss']:.3f}  {_best_note(metric, best)}")
                if step % config.eval_every == 0 or step == config.steps:
                    metrics = evaluate(plan.join(state.measured, frozen))
                    better = metrics[metric] > best
                    best, bad = (metrics[metric], 0) if better else (best, bad + 1)
                    writer.write(step, {f"valid/{name}": v for name, v in metrics.items()})
                    record = {"iterator": iterator_state(batches), "best": best, "bad": bad}
                    record |= {"base": base}
                    checkpoints.save(step, state, record, metrics)
                    bar.update(step, _best_note(metric, best))
                    if not warm:
                        warm, expected = True, compiles.count
                    logged = (step, time.monotonic())
        surplus = compiles.count - expected if warm else 0
        best_step = checkpoints.best
        assert best_step is not None  # config.steps >= 1, so at least one validation has been saved
        state, _ = checkpoints.restore(best_step, plan.state)
        params = plan.join(state.measured, frozen)
        metrics = evaluate(params)
    return FitResult(
        params=params,
        best_step=best_step,
        metrics=metrics,
        steps=step,
        seconds=time.monotonic() - started,
        compiles_after_warmup=surplus,
    )


def _stopped(bad: int, config: TrainConfig) -> bool:
    return bool(config.patience) and bad >= config.patience


def _best_note(metric: str, best: float) -> str:
    return f"best {metric} {best:.4f}" if best > -float("inf") else ""
