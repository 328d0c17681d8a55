"""The training loop: steps, validation, checkpoints, early stopping and exact resumption."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxrec.core import (
    CompileCounter,
    Interrupted,
    JaxrecError,
    ProgressBar,
    batch_shard,
    batch_sharding,
    broadcast,
    global_batch,
    locked,
)
from jaxrec.train.batches import Batches, OnPolicy
from jaxrec.train.checkpoint import Checkpoints, iterator_state
from jaxrec.train.checksums import Checked
from jaxrec.train.config import TrainConfig
from jaxrec.train.divergence import LossWatch
from jaxrec.train.identity import check_base, check_owner
from jaxrec.train.meter import Measure, Meter
from jaxrec.train.metrics import MetricWriter
from jaxrec.train.plan import Plan
from jaxrec.train.step import TrainState, shardings, start_state
from jaxrec.train.stopping import StopRequests
from jaxrec.train.trace import Trace

# Reads the metrics of all validations so far, oldest first, and says why training must end, or "".
Stop = Callable[[Sequence[Mapping[str, float]]], str]


@dataclasses.dataclass(frozen=True)
class Validation:
    """How a run measures its checkpoints and chooses the best.

    Attributes:
      evaluate: maps the model's variables to validation metrics by name.
      metric: the metric that ranks checkpoints; higher is better.
      units: number and name of the units that `evaluate` reports by `count_done`; with 0 of them a
        validation shows no progress.

    Example:
      >>> validation = Validation(lambda variables: {"auc": 0.5}, "auc")
      >>> validation.measure({})[validation.metric]
      0.5
    """

    evaluate: Callable[[Any], dict[str, float]]
    metric: str = "ndcg@10"
    units: tuple[int, str] = (0, "user")

    def measure(self, variables: Any) -> dict[str, float]:
        """Evaluate variables, and show how far this is."""
        number, name = self.units
        if not number:
            return self.evaluate(variables)
        with ProgressBar("validate", number, name, counts=True):
            return self.evaluate(variables)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Start:
    """What a run starts from; the default trains all parameters from their initializers.

    Attributes:
      params: returns the trainable tree to start from, whose arrays are donated; None takes what
        the plan's `init` returns.
      frozen: arrays of the frozen tree; None if all parameters are trained.
      base: names the frozen parameters, for instance by their checksum. A run does not resume on
        another base.
      run: a hash of each thing that the parameters depend on (item IDs, data, settings), by name;
        see `run_identity` of `jaxrec.runs`. A checkpoint with other hashes is refused.
    """

    params: Callable[[], Any] | None = None
    frozen: Any = None
    base: str = ""
    run: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitResult:
    """The result of a run.

    Attributes:
      params: variables of the model at the best validation, including frozen ones.
      best_step: the step of the best validation.
      metrics: the metrics of the best validation.
      steps: number of steps trained, over all sessions of the run.
      seconds: wall-clock time of all sessions of the run, each up to its last checkpoint if it was
        interrupted; compilation of the step does not count.
      compiles_after_warmup: compilations after the first step and the first validation; more than 0
        means that shapes changed during training.
      stopped: why `stop` ended the training; "" if it did not.
    """

    params: Any
    best_step: int
    metrics: dict[str, float]
    steps: int
    seconds: float
    compiles_after_warmup: int
    stopped: str = ""


@dataclasses.dataclass(kw_only=True)
class Standing:
    """The progress of a run, except for its arrays; JSON-serializable.

    Attributes:
      iterator: position in the batches.
      base: identity of the frozen parameters.
      best: highest validation metric; None before the first validation.
      bad: number of validations since the best one.
      first_loss: loss of the first step; None until it has been read.
      run: identity of the run.
      measured: metrics of all validations, if something reads them.
      stopped: why the training was ended early; "" while it was not.
      seconds: wall-clock time of all sessions until this checkpoint.
    """

    iterator: Any = None
    base: str = ""
    best: float | None = None
    bad: int = 0
    first_loss: float | None = None
    run: dict[str, str] = dataclasses.field(default_factory=dict)
    measured: list[dict[str, float]] = dataclasses.field(default_factory=list)
    stopped: str = ""
    seconds: float = 0.0


def fit(
    plan: Plan,
    batches: Batches,
    validation: Validation,
    directory: Path,
    *,
    start: Start | None = None,
    title: str = "train",
    measure: Measure | None = None,
    profile: bool = False,
    stop: Stop | None = None,
) -> FitResult:
    """Train in `directory`, or resume the training that it holds, up to the last step.

    A run that is killed at any moment and started again ends with the same parameters as an
    uninterrupted one: a checkpoint holds the state, the position of the iterator and the
    early-stopping record, and the randomness of a step depends only on the seed and the step
    number. Checkpoints do not hold frozen parameters.

    With several processes, each calls `fit` with the same arguments, except that its batches hold
    its own rows (see `batch_shard`).

    Args:
      plan: result of `make_plan`.
      batches: trees of arrays with the plan's shapes; each other shape costs a compilation. If they
        are `OnPolicy`, they get the variables before each step.
      validation: how checkpoints are measured, every `eval_every` steps, and ranked.
      directory: receives `checkpoints/`, `metrics.jsonl` and `tb/`; it is locked during training.
      start: initial and frozen parameters; None trains all parameters from the plan's `init`.
      title: shown by the progress bar.
      measure: counts tokens and cells of a batch; None logs neither tokens per second nor padding.
      profile: write a trace of a few steps to `profile/`.
      stop: reads the metrics of all validations so far, oldest first, and says why training must
        end, or "" to go on. The checkpoint at which it ends is not ranked, unless it is the first.

    Raises:
      DataError: all checkpoints are damaged, or they belong to another base or model.
      DivergedError: a loss or a parameter is not finite, or a loss explodes.
      JaxrecError: what `batches` raises; the steps before it are saved.
      Interrupted: SIGTERM or Ctrl-C arrived; the last step is saved.
      ResourceError: the disk is full, or another process is using the directory.

    Example:
      >>> import itertools, tempfile
      >>> from pathlib import Path
      >>> import jax.numpy as jnp
      >>> from jaxrec.objectives import Loss
      >>> from jaxrec.train import TrainConfig, Validation, fit, make_plan
      >>> class Targets:
      ...     def __next__(self):
      ...         return jnp.full((4,), 3.0)
      ...     def get_state(self):
      ...         return {}
      ...     def set_state(self, state):
      ...         pass
      >>> def init(key):
      ...     return {"mean": jnp.zeros(())}
      >>> def loss(params, batch, key):
      ...     errors = (batch - params["mean"]) ** 2
      ...     return Loss(errors.sum(), jnp.float32(4), {})
      >>> def evaluate(params):
      ...     return {"closeness": -abs(float(params["mean"]) - 3.0)}
      >>> config = TrainConfig(steps=40, batch_size=4, lr=0.3, warmup_steps=0, eval_every=20)
      >>> plan = make_plan(init, loss, next(Targets()), config)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     result = fit(plan, Targets(), Validation(evaluate, "closeness"), Path(folder))
      >>> result.steps, round(float(result.params["mean"]))
      (40, 3)
    """
    config, begun, start = plan.config, time.monotonic(), start or Start()
    with (
        locked(directory),
        Checkpoints(directory / "checkpoints", config.keep) as checkpoints,
        CompileCounter() as compiles,
        StopRequests() as requests,
    ):
        step, state, standing = _begin(plan, checkpoints, start)
        begun -= standing.seconds
        if _unfinished(step, standing, config):
            paused = time.monotonic()
            plan.compile()
            begun += time.monotonic() - paused
        if standing.iterator is not None:
            batches.set_state(standing.iterator)
        frozen = jax.device_put(start.frozen, shardings(plan.frozen))
        with (
            MetricWriter(directory, step) as writer,
            ProgressBar(title, config.steps, aside_every=config.eval_every) as bar,
            Trace(directory / "profile" if profile else None, step) as trace,
        ):
            bar.update(step, f"resumed at {step}" if step else "")
            place = batch_sharding(plan.mesh, plan.rules)
            ratio, first = config.max_loss_ratio, standing.first_loss
            watch = LossWatch(batches, place, directory, ratio, first)
            meter = Meter(compiles, measure, batch_shard(place)[1])
            session = _Session(
                plan=plan,
                batches=batches,
                validation=validation,
                frozen=frozen,
                standing=standing,
                checkpoints=checkpoints,
                writer=writer,
                bar=bar,
                watch=watch,
                requests=requests,
                stop=stop,
                meter=meter,
                trace=trace,
                begun=begun,
            )
            step = session.train(step, state)
        checkpoints.wait()
        best_step, state, _ = checkpoints.restore_best(plan.state)
        params = plan.join(state.measured, frozen)
        metrics = validation.measure(params)
    return FitResult(
        params=params,
        best_step=best_step,
        metrics=metrics,
        steps=step,
        seconds=time.monotonic() - begun,
        compiles_after_warmup=meter.surplus,
        stopped=standing.stopped,
    )


def _unfinished(step: int, standing: Standing, config: TrainConfig) -> bool:
    stopped = standing.stopped or _stopped(standing.bad, config)
    return step < config.steps and not stopped


def _begin(plan: Plan, checkpoints: Checkpoints, start: Start) -> tuple[int, TrainState, Standing]:
    """Return the newest intact checkpoint, or the state before the first step."""
    restored = checkpoints.restore_newest(plan.state)
    if restored is not None:
        step, state, record = restored
        check_owner(record, start.run, checkpoints.directory)
        check_base(record, start.base, checkpoints.directory)
        return step, state, Standing(**record | {"run": dict(start.run)})
    initial = start.params or (lambda: plan.initialize(jax.random.key(plan.config.seed)))
    params = jax.device_put(initial(), shardings(plan.state.params))
    return (
        0,
        start_state(params, plan.optimizer, plan.state),
        Standing(base=start.base, run=dict(start.run)),
    )


@dataclasses.dataclass(kw_only=True)
class _Session:
    """One process's part of a run, from its start or resumption to its end or interruption.

    `begun` is when the run would have begun if its sessions followed each other without a break.
    """

    plan: Plan
    batches: Batches
    validation: Validation
    frozen: Any
    standing: Standing
    checkpoints: Checkpoints
    writer: MetricWriter
    bar: ProgressBar
    watch: LossWatch
    requests: StopRequests
    stop: Stop | None
    meter: Meter
    trace: Trace
    begun: float

    def train(self, step: int, state: TrainState) -> int:
        """Train from `step` to the last step, and return the latter."""
        config, place = self.plan.config, batch_sharding(self.plan.mesh, self.plan.rules)
        self.meter.restart()
        while _unfinished(step, self.standing, config):
            with self.trace.before(step):
                with self.meter.waiting():
                    local = self._next(step, state)
                batch = global_batch(local, place)
                state, metrics = self.plan.step(state, batch, self.frozen)
            step += 1
            self.trace.after(step, metrics)
            self.meter.add(local, self.plan.step_flops(batch))
            self.watch.add(step, metrics, batch)
            self.bar.update(step)
            asked, last = self.requests.asked(step), step == config.steps
            if step % config.log_every == 0 or last:
                self.watch.look()
                values = {name: float(value) for name, value in metrics.items()}
                values |= self.meter.values()
                note = f"loss {values['loss']:.3f}"
                if isinstance(self.batches, OnPolicy):
                    values |= self.batches.values()
                    note = self.batches.note(values)
                self.writer.write(step, values)
                self.bar.update(step, f"{note}  {self._best_note()}")
                self.meter.warn(step)
            if step % config.eval_every == 0 or last:
                self._validate(step, state)
                self.meter.restart()
            elif asked:
                self._save(step, state, self.watch.check(step, state), None)
            if asked and not last:
                self.checkpoints.wait()
                raise Interrupted(
                    f"training was asked to stop; step {step} of {config.steps} is saved in "
                    f"{self.checkpoints.directory}; start the same command again to resume"
                )
        return step

    def _next(self, step: int, state: TrainState) -> Any:
        """Draw a batch; if that fails, the steps so far are saved first."""
        try:
            if isinstance(self.batches, OnPolicy):
                self.batches.follow(self.plan.join(state.params, self.frozen))
            return next(self.batches)
        except JaxrecError:
            if step and step not in self.checkpoints.steps:
                self._save(step, state, self.watch.check(step, state), None)
                self.checkpoints.wait()
            raise

    def _validate(self, step: int, state: TrainState) -> None:
        """Measure and save a step; a step with bad numbers raises instead of being saved."""
        checked = self.watch.check(step, state)
        variables = self.plan.join(state.measured, self.frozen)
        # All processes use the metrics of process 0, so that all stop early at the same validation.
        with self.bar.aside("validating"):
            metrics = broadcast(self.validation.measure(variables))
        score, standing = float(metrics[self.validation.metric]), self.standing
        if self.stop is not None:
            standing.measured.append({name: float(value) for name, value in metrics.items()})
            standing.stopped = broadcast(self.stop(standing.measured))
        ranked = standing.best is None or not standing.stopped
        better = standing.best is None or (ranked and score > standing.best)
        standing.best, standing.bad = (score, 0) if better else (standing.best, standing.bad + 1)
        self.writer.write(step, {f"valid/{name}": value for name, value in metrics.items()})
        self._save(step, state, checked, score if ranked else None)
        self.bar.update(step, self._best_note())
        self.meter.warm(step)

    def _save(self, step: int, state: TrainState, checked: Checked, score: float | None) -> None:
        self.standing.iterator = iterator_state(self.batches)
        self.standing.first_loss = self.watch.first_loss
        self.standing.seconds = time.monotonic() - self.begun
        self.checkpoints.save(step, state, dataclasses.asdict(self.standing), score, checked)

    def _best_note(self) -> str:
        best = self.standing.best
        return "" if best is None else f"best {self.validation.metric} {best:.4f}"


def _stopped(bad: int, config: TrainConfig) -> bool:
    return bool(config.patience) and bad >= config.patience
