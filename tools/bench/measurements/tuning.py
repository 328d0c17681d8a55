"""Ways to tune a language model to another domain, beside training all of it.

    python tools/bench tuning [--steps 200] [--train-dir DIR] [--methods full,lora]

The model is that of `char_lm.py`, trained on GSM8K. The domain is 50,000 characters of WikiText-2;
of the text after them one half chooses each method's learning rate, and the other is what the table
shows. The gain is the share of the loss that a method takes away, of what training everything takes
away.
"""

import dataclasses
import gzip
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from support import char_lm
from support.header import choose, print_header
from support.table import Table

from jaxrec.core import keep_memory
from jaxrec.models import CausalLM
from jaxrec.objectives import Loss, language_loss
from jaxrec.peft import TuneConfig, prepend, start, variables, virtual_of
from jaxrec.quant import CodebookConfig, quantize_params
from jaxrec.train import Plan, TrainConfig, count_bytes, make_plan, start_state

BATCH = 20
WINDOW = 101  # leaves room for virtual tokens among the model's 128 positions
CHARACTERS = 50_000
# The settings of each method, and the learning rates to choose from.
ALL = ("all",)
METHODS: dict[str, tuple[TuneConfig, tuple[float, ...]]] = {
    "full": (TuneConfig(method="full"), (3e-4, 1e-3, 3e-3)),
    "lora": (TuneConfig(method="lora", rank=2, targets=ALL, also=("norm",)), (5e-3, 1e-2, 2e-2)),
    "qlora": (TuneConfig(method="qlora", rank=2, targets=ALL, also=("norm",)), (5e-3, 1e-2, 2e-2)),
    "adapter": (TuneConfig(method="adapter", bottleneck=8), (3e-3, 1e-2, 2e-2)),
    "prefix": (
        TuneConfig(method="prefix", virtual_tokens=10, prefix_hidden=64),
        (1e-3, 3e-3, 1e-2),
    ),
    "prompt": (
        TuneConfig(method="prompt", virtual_tokens=20, prompt_init="random"),
        (1e-2, 3e-2, 1e-1),
    ),
}


def domain() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Characters to train on, and windows `[W, 101]`: some to choose by, others to report."""
    path = char_lm.data_dir().parent / "wikitext-2" / "valid.txt.gz"
    text = char_lm.encode(gzip.decompress(path.read_bytes()).decode())
    half = (len(text) + CHARACTERS) // 2
    parts = text[:CHARACTERS], text[CHARACTERS:half], text[half:]
    return parts[0], windows(parts[1]), windows(parts[2])


def windows(text: np.ndarray, count: int = 100) -> np.ndarray:
    """`count` windows `[count, 101]`, evenly spread over the text."""
    at = np.linspace(0, len(text) - WINDOW, count).astype(int)
    return text[at[:, None] + np.arange(WINDOW)[None]]


def loss(model_variables: Any, tokens: jax.Array, key: jax.Array | None = None) -> Loss:
    """Next-symbol cross-entropy of `[B, 101]` windows; virtual tokens go in front."""
    model = CausalLM(char_lm.SPEC.config)
    ones = jnp.ones(tokens.shape, bool)
    count = virtual_of(model_variables).read
    put = prepend(tokens, ones, model.config.vocab_size, count)
    # The first symbol of a window has nothing before it in any of the methods.
    first = jnp.arange(put.tokens.shape[1]) <= count
    weights = jnp.broadcast_to(1.0 - first.astype(jnp.float32)[None], put.tokens.shape)
    batch = {"tokens": put.tokens, "valid": put.valid, "weights": weights}
    return language_loss(model, model_variables, batch, key)


def measure(model_variables: Any, windows: np.ndarray) -> float:
    """Mean cross-entropy a symbol, nats."""
    losses = [
        _evaluate(model_variables, jnp.asarray(windows[at : at + BATCH]))
        for at in range(0, len(windows), BATCH)
    ]
    return float(sum(part.total for part in losses) / sum(part.weight for part in losses))


_evaluate = jax.jit(loss)


def batches(text: np.ndarray, steps: int) -> Iterator[np.ndarray]:
    """Random windows of the text, `[20, 101]` a step."""
    rng = np.random.default_rng(0)
    for _ in range(steps):
        at = rng.integers(0, len(text) - WINDOW, BATCH)
        yield text[at[:, None] + np.arange(WINDOW)[None]]


def tune(
    base: Any, config: TuneConfig, train: TrainConfig, text: np.ndarray
) -> tuple[Plan, Any, float]:
    """Tune once; the plan, the tuned variables, and milliseconds a step."""
    boxed = char_lm.SPEC.shapes()

    def quantize(params: Any, specs: Any) -> Any:
        return quantize_params(params, specs, CodebookConfig())

    tuning = start(jax.random.key(0), boxed, base, config, quantize=quantize)
    plan = make_plan(
        lambda key: start(key, boxed, base, config, quantize=quantize).trainable,
        loss,
        jax.ShapeDtypeStruct((BATCH, WINDOW), jnp.int32),
        train,
        frozen=tuning.frozen,
        join=variables,
    )
    state = start_state(nn.meta.unbox(tuning.trainable), plan.optimizer, plan.state)
    began = 0.0
    for n, tokens in enumerate(batches(text, train.steps)):
        if n == 10:
            jax.block_until_ready(state)
            began = time.perf_counter()
        state, _ = plan.step(state, jnp.asarray(tokens), tuning.frozen)
    jax.block_until_ready(state)
    milliseconds = 1e3 * (time.perf_counter() - began) / (train.steps - 10)
    return plan, variables(state.params, tuning.frozen), milliseconds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Which methods, and for how long.

    Attributes:
      steps: training steps.
      train_dir: directory of the base model, which is trained if it is not there.
      methods: methods to measure, separated by commas; "full" must come first.
    """

    steps: int = 200
    train_dir: Path = Path(tempfile.gettempdir()) / "char-lm"
    methods: str = ",".join(METHODS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tuned:
    """A method at the learning rate that the validation windows prefer."""

    rate: float
    plan: Plan
    variables: Any
    milliseconds: float


def best_of_rates(name: str, base: Any, steps: int, text: np.ndarray, choose_by: Any) -> Tuned:
    """Tune with every learning rate of a method, and keep the best."""
    config, rates = METHODS[name]
    losses, tunings = [], []
    for rate in rates:
        train = TrainConfig(
            steps=steps, batch_size=BATCH, lr=rate, warmup_steps=20, weight_decay=0.0
        )
        copied = jax.tree.map(jnp.copy, base)  # the step takes its state's buffers
        plan, tuned, milliseconds = tune(copied, config, train, text)
        losses.append(measure(tuned, choose_by))
        tunings.append(Tuned(rate=rate, plan=plan, variables=tuned, milliseconds=milliseconds))
    return tunings[int(np.argmin(losses))]


def run(options: Options) -> Table:
    """Tune by every method, and print a row for each."""
    methods = choose(options.methods, list(METHODS), "method")
    if methods[0] != "full":
        sys.exit(f"gains are shares of that of 'full', which must come first; got {methods[0]!r}")
    keep_memory()
    print_header()
    base = char_lm.trained(options.train_dir, char_lm.read_text()[0])
    text, choose_by, report = domain()
    before = measure(base, report)
    print(f"before tuning: {before:.4f} nats a symbol; {options.steps} steps of {BATCH} windows")
    print(
        f"{'method':8} {'lr':>6} {'trained':>9} {'%':>6} {'state MiB':>9} {'step MiB':>8} "
        f"{'ms':>6} {'loss':>7} {'gain %':>7}"
    )
    gains: dict[str, float] = {}
    for name in methods:
        best = best_of_rates(name, base, options.steps, text, choose_by)
        after = measure(best.variables, report)
        gains[name] = before - after
        plan, size = best.plan, best.plan.size
        state = sum(sum(count_bytes(t).values()) for t in (plan.state.params, plan.state.opt_state))
        print(
            f"{name:8} {best.rate:6g} {size.trainable:9,} "
            f"{100 * size.trainable / size.total:6.2f} {state / 2**20:9.2f} "
            f"{plan.memory.total / 2**20:8.1f} {best.milliseconds:6.0f} "
            f"{after:7.4f} {100 * gains[name] / gains['full']:7.1f}",
            flush=True,
        )
    percent = {name: round(100 * gain / gains["full"], 1) for name, gain in gains.items()}
    return Table({"gain_percent": percent})
