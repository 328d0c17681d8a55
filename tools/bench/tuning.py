"""Ways to tune a language model to another domain, beside training all of it.

    python tools/bench/tuning.py [--steps 200] [--train-dir DIR]

The model is `char_lm`'s, trained on GSM8K; the domain is 50,000 characters of WikiText-2, of which
a part after them chooses each method's learning rate and another is what the table shows. The gain
is how much of the loss that training everything takes away a method takes away too.
"""

import argparse
import gzip
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import char_lm
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from timing import environment

from jaxrec.core import keep_memory
from jaxrec.models import CausalLM
from jaxrec.objectives import Loss, language_loss
from jaxrec.peft import TuneConfig, prepend, start, variables, virtual_of
from jaxrec.quant import CodebookConfig, quantize_params
from jaxrec.train import Plan, TrainConfig, count_bytes, make_plan, start_state

BATCH = 20
WINDOW = 101  # leaves room for virtual tokens among the model's 128 positions
CHARACTERS = 50_000
# Method, settings, learning rates to choose from.
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
    """Characters to train on, and windows `[W, 101]` to choose by and to report."""
    path = char_lm.data_dir().parent / "wikitext-2" / "valid.txt.gz"
    text = char_lm.encode(gzip.decompress(path.read_bytes()).decode())
    half = (len(text) + CHARACTERS) // 2
    parts = text[:CHARACTERS], text[CHARACTERS:half], text[half:]
    return parts[0], windows(parts[1]), windows(parts[2])


def windows(text: np.ndarray, count: int = 100) -> np.ndarray:
    """Evenly spread."""
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
    found = [
        _evaluate(model_variables, jnp.asarray(windows[at : at + BATCH]))
        for at in range(0, len(windows), BATCH)
    ]
    return float(sum(one.total for one in found) / sum(one.weight for one in found))


_evaluate = jax.jit(loss)


def batches(text: np.ndarray, steps: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    for _ in range(steps):
        at = rng.integers(0, len(text) - WINDOW, BATCH)
        yield text[at[:, None] + np.arange(WINDOW)[None]]


def tune(
    base: Any, config: TuneConfig, train: TrainConfig, text: np.ndarray
) -> tuple[Plan, Any, float]:
    """Run one tuning: its plan, the model's variables, milliseconds a step."""
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--train-dir", type=Path, default=Path(tempfile.gettempdir()) / "char-lm")
    parser.add_argument("--methods", default=",".join(METHODS))
    options = parser.parse_args()
    keep_memory()
    environment(peer=False)
    base = char_lm.trained(options.train_dir, char_lm.read_text()[0])
    text, choose, report = domain()
    before = measure(base, report)
    print(f"before tuning: {before:.4f} nats a symbol; {options.steps} steps of {BATCH} windows")
    print(
        f"{'method':8} {'lr':>6} {'trained':>9} {'%':>6} {'state MiB':>9} {'step MiB':>8} "
        f"{'ms':>6} {'loss':>7} {'gain %':>7}"
    )
    gains: dict[str, float] = {}
    for name in options.methods.split(","):
        config, rates = METHODS[name]
        found = []
        for rate in rates:
            train = TrainConfig(
                steps=options.steps, batch_size=BATCH, lr=rate, warmup_steps=20, weight_decay=0.0
            )
            copied = jax.tree.map(jnp.copy, base)  # the step takes its state's buffers
            plan, tuned, milliseconds = tune(copied, config, train, text)
            found.append((measure(tuned, choose), rate, plan, tuned, milliseconds))
        _, rate, plan, tuned, milliseconds = min(found, key=lambda row: row[0])
        after = measure(tuned, report)
        gains[name] = before - after
        size = plan.size
        state = sum(sum(count_bytes(t).values()) for t in (plan.state.params, plan.state.opt_state))
        print(
            f"{name:8} {rate:6g} {size.trainable:9,} {100 * size.trainable / size.total:6.2f} "
            f"{state / 2**20:9.2f} {plan.memory.total / 2**20:8.1f} {milliseconds:6.0f} "
            f"{after:7.4f} {100 * gains[name] / gains['full']:7.1f}",
            flush=True,
        )
    percent = {name: round(100 * gain / gains["full"], 1) for name, gain in gains.items()}
    print(json.dumps({"gain_percent": percent}))


if __name__ == "__main__":
    main()
