"""Soft and hard prompts beside LoRA and full tuning, at equal data.

    jaxrec sweep prompt_tuning/claims --seeds 1

Two trainings make the base, unless runs/prompt_tuning-base is there: a small decoder learns lists
of films with the answers of one user, and then questions about films in several wordings. Its users
are not among those below. All rows then answer TALLRec's questions, of the published split and with
the same 512 training windows:

- "untuned": the base with TALLRec's instruction, and "hand-written 1" to "hand-written 5": the base
  with another instruction. "best hand-written" is the one of these that validation prefers.
- "found wording" and "found tokens": the base with an instruction that a search has found, among
  paraphrases or by replacing tokens (AutoPrompt). The search begins with the hand-written ones.
- "soft prompt", "p-tuning" and "prefix": the base with virtual tokens; "lora" and "full": a tuned
  base. `tuned_percent` is what each of them keeps, in percent of the base's parameters.

The goals: "soft prompt" and "p-tuning" keep below 1 % and are above "untuned" in the paired test;
"found wording" or "found tokens" has at least the AUC of "best hand-written".

Result on 2026-11-30, seed 0: 1,000 test questions of 16 users, intervals over users. The goals are
reached: "soft prompt" is above "untuned" by .136 [.090, .183] of the AUC, "p-tuning" by .150
[.105, .195], and "found wording" has .701 where "best hand-written" has .698.

    row                  auc                 within_user_auc     tuned_percent
    untuned              .544 [.469, .603]   .517 [.447, .575]
    best hand-written    .698 [.633, .763]   .678 [.616, .746]
    found wording        .701 [.633, .769]   .675 [.611, .745]
    found tokens         .644 [.573, .716]   .628 [.584, .670]
    soft prompt          .681 [.628, .734]   .674 [.620, .739]      .424
    p-tuning             .694 [.633, .754]   .668 [.615, .730]      .424
    prefix               .612 [.468, .718]   .607 [.522, .671]      .678
    lora                 .720 [.649, .788]   .691 [.626, .764]      .678
    full                 .712 [.649, .771]   .702 [.640, .773]    100

The hand-written instructions lie between .450 and .698, so the wording decides more than the method
of tuning. Learning rates and numbers of steps are first guesses and not tuned by validation.

Cost: 27 CPU minutes, of which the base takes about half.
"""

import dataclasses
from typing import Any

from jaxrec.models import TransformerConfig
from jaxrec.peft import TuneConfig
from jaxrec.runs import Sweep
from jaxrec.systems.instruct import (
    InstructConfig,
    InstructDataConfig,
    InstructEvalConfig,
    WritingConfig,
)
from jaxrec.systems.tallrec import ClickEvalConfig, Search, SearchConfig, TallrecConfig
from jaxrec.train import TrainConfig

LISTS, START = "runs/prompt_tuning-lists", "runs/prompt_tuning-base"
# Written before anything was measured, and in no wording that the base has learned.
HAND_WRITTEN = (
    "Will the user like the target movie? Answer yes or no.",
    "You are a movie expert. Judge whether the user is going to love the target movie.",
    "Based on what the user liked and disliked before, say whether the movie suits the user.",
    "Recommend the movie to the user or not?",
    "Answer Yes. if the user gives the target movie four or five stars, and No. otherwise.",
)


def get_lists() -> InstructConfig:
    """A small decoder from scratch that learns mostly lists of films with answers."""
    return InstructConfig(
        data=InstructDataConfig(
            name="films",
            tasks=("films",),
            film_rows=2000,
            film_lists=8000,
            valid_share=0.02,
            test_share=0.02,
        ),
        writing=WritingConfig(frame="alpaca", cap=8000, max_length=256),
        model=TransformerConfig(width=64, depth=2, num_heads=4),
        vocab_size=1000,
        # Greedy answers tell little of what a prompt can get out of the model, so the last step is
        # taken.
        train=TrainConfig(
            steps=400, batch_size=24, lr=4e-3, warmup_steps=30, weight_decay=0.05, eval_every=400
        ),
        eval=InstructEvalConfig(valid_instances=16, test_instances=100, max_tokens=4),
    )


def get_start() -> InstructConfig:
    """The same decoder, which then learns mostly questions about films, of other users."""
    lists = get_lists()
    return dataclasses.replace(
        lists,
        data=dataclasses.replace(lists.data, film_rows=8000, film_lists=1000),
        tune=TuneConfig(base=LISTS),
        train=dataclasses.replace(lists.train, steps=800, eval_every=800, lr=3e-3),
    )


def get_config() -> TallrecConfig:
    return TallrecConfig(
        shots=512,
        on_prompt=False,
        tune=TuneConfig(method="prompt", base=START, virtual_tokens=20),
        train=TrainConfig(
            steps=150,
            batch_size=32,
            lr=1e-2,
            warmup_steps=10,
            weight_decay=0.0,
            eval_every=50,
        ),
        eval=ClickEvalConfig(baselines=(), valid_windows=500),
    )


def get_sweep() -> Sweep:
    soft = get_config()

    def tuned(lr: float, **settings: Any) -> TallrecConfig:
        tune = TuneConfig(base=START, **settings)
        return dataclasses.replace(soft, tune=tune, train=dataclasses.replace(soft.train, lr=lr))

    def searched(method: Search, texts: tuple[str, ...] = ()) -> TallrecConfig:
        search = SearchConfig(
            method=method,
            texts=texts,
            windows=256,
            begin=12,
            rounds=2,
            variants=3,
            steps=50,
            candidates=8,
            batch_size=48,
        )
        return dataclasses.replace(soft, tune=TuneConfig(base=START), search=search)

    written = {f"hand-written {n}": (text,) for n, text in enumerate(HAND_WRITTEN, start=1)}
    return Sweep(
        variants={
            "untuned": searched("given"),
            **{name: searched("given", texts) for name, texts in written.items()},
            "best hand-written": searched("given", HAND_WRITTEN),
            "found wording": searched("wordings", HAND_WRITTEN),
            "found tokens": searched("tokens", HAND_WRITTEN),
            "soft prompt": soft,
            "p-tuning": tuned(
                1e-2,
                method="prompt",
                prompt_encoder="lstm",
                prompt_init="random",
                virtual_tokens=20,
            ),
            "prefix": tuned(1e-2, method="prefix", virtual_tokens=8),
            "lora": tuned(3e-3, method="lora", rank=4),
            "full": tuned(1e-3, method="full"),
        },
        against="untuned",
        metrics=("auc", "within_user_auc"),
        starts={LISTS: get_lists(), START: get_start()},
    )
