"""The training loop: steps, validations, checkpoints, early stopping, exact resume."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import jax

from jaxrec.core.compiles import CompileCounter
from jaxrec.core.mesh import MeshConfig, ShardingRules, batch_sharding, make_mesh
from jaxrec.train.checkpoint import Checkpoints, iterator_state
from jaxrec.train.config import TrainConfig
from jaxrec.train.metrics import MetricWriter
from jaxrec.train.progress import ProgressBar
from jaxrec.train.step import LossFunction, make_optimizer, make_state, make_step


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
      params: of the best validation.
      best_step: its step.
      metrics: its validation metrics.
      steps: steps trained, over all sittings.
      seconds: this sitting's wall-clock.
      compiles_after_warmup: compilations after the first validation, but for those of steps on
        batches of shapes not met before; 0 is right.
    """

    params: Any
    best_step: int
    metrics: dict[str, float]
    steps: int
    seconds: float
    compiles_after_warmup: int


def fit(
    init: Callable[[jax.Array], Any],
    loss: LossFunction,
    batches: Batches,
    evaluate: Callable[[Any], dict[str, float]],
    config: TrainConfig,
    directory: Path,
    *,
    metric: str = "ndcg@10",
    mesh_config: MeshConfig | None = None,
    rules: ShardingRules | None = None,
    title: str = "train",
    measure: Callable[[Any], dict[str, float]] | None = None,
) -> FitResult:
    """Train, or go on training what `directory` holds, to the end.

    A run that was killed at any moment and started again ends with the parameters of the unbroken
    one: a checkpoint holds the state, the iterator's position and the early-stopping record, and a
    step's randomness depends on nothing but the seed and its number.

    Args:
      init: key to variables with axis names.
      loss: the objective.
      batches: trees of arrays whose first axis is a multiple of `config.accumulate` micro-batches
        that divide over the devices. Each new set of shapes costs a compilation.
      evaluate: parameters to validation metrics; called every `config.eval_every` steps.
      config: settings.
      directory: gets `checkpoints/`, `metrics.jsonl` and `tb/`.
      metric: the one that ranks checkpoints, higher is better.
      mesh_config: devices along each axis; all on the data axis by default.
      rules: sharding of parameters; replicated by default.
      title: of the progress bar.
      measure: from a batch, on the host, to metrics logged beside its loss.

    Raises:
      DataError: a damaged checkpoint.
      ResourceError: the disk is full.
    """
    mesh, rules = make_mesh(mesh_config or MeshConfig()), rules or ShardingRules()
    optimizer = make_optimizer(config)
    step_function = make_step(loss, optimizer, config, mesh, rules)
    place = batch_sharding(mesh, rules)
    started = time.monotonic()
    with (
        Checkpoints(directory / "checkpoints", metric) as checkpoints,
        CompileCounter() as compiles,
    ):
        state = make_state(init, optimizer, mesh, rules, config)
        step, best, bad = 0, -float("inf"), 0
        if checkpoints.latest is not None:
            step = checkpoints.latest
            state, record = checkpoints.restore(step, state)
            batches.set_state(record["iterator"])
            best, bad = record["best"], record["bad"]
        with (
            MetricWriter(directory, step) as writer,
            ProgressBar(title, config.steps) as bar,
        ):
            bar.update(step, f"resumed at {step}" if step else "")
            # Compilations up to the end of the first validation are warm-up.
            warm, expected, logged = False, 0, (step, time.monotonic())
            met: set[tuple[tuple[int, ...], ...]] = set()
            while step < config.steps and not _stopped(bad, config):
                local = next(batches)
                shapes = tuple(leaf.shape for leaf in jax.tree.leaves(local))
                before = compiles.count
                state, found = step_function(state, jax.device_put(local, place))
                if shapes not in met:
                    met.add(shapes)
                    expected += compiles.count - before
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
                    metrics = evaluate(state.measured)
                    better = metrics[metric] > best
                    best, bad = (metrics[metric], 0) if better else (best, bad + 1)
                    writer.write(step, {f"valid/{name}": v for name, v in metrics.items()})
                    record = {"iterator": iterator_state(batches), "best": best, "bad": bad}
                    checkpoints.save(step, state, record, metrics)
                    bar.update(step, _best_note(metric, best))
                    if not warm:
                        warm, expected = True, compiles.count
                    logged = (step, time.monotonic())
        surplus = compiles.count - expected if warm else 0
        best_step = checkpoints.best
        assert best_step is not None  # config.steps >= 1, so at least one validation has been saved
        state, _ = checkpoints.restore(best_step, state)
        metrics = evaluate(state.measured)
    return FitResult(
        params=state.measured,
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
