"""Preferences and rewards against more supervised training, from the quickstart's model on.

    jaxrec sweep align/claims --seeds 3

The sweep trains its starts first if they are not there: runs/quickstart for seed 0, and
runs/quickstart-1 and so on for the others. All rows of a seed start from the same parameters and
take the same number of steps on the same number of histories. "supervised" goes on as before, "dpo"
and "sdpo" prefer the next item to popular ones, and "grpo" rewards the ranks in the policy's own
lists. The checkpoint is chosen by validation in each row. Public reproductions of such training
found it at or below its supervised start, so a gain counts only if its interval over users and
seeds excludes 0.

Cost of a step on one core: .22 s of CPU time for "grpo", about .15 s for "dpo" and "sdpo" and .1 s
for "supervised"; a row and seed takes 1 to 3 minutes on an idle machine.

Settings were tried on the validation NDCG@10 of seed 0, from a start of 500 steps with .1057. The
best of three validations in 120 to 150 steps: supervised .1052; grpo .1075 (lr 1e-4) and .1071
(2e-5), .0673 with lr 5e-4, kl .001 and rewards for ranks alone; sdpo with three negatives from the
beams .0876 (1e-4) and .1033 (1e-5), with 15 by popularity .1046 (1e-4). None of these is a gain
beyond noise.
"""

import dataclasses

from jaxrec.align import AlignConfig, RewardConfig
from jaxrec.baselines import SasrecConfig
from jaxrec.data import DataConfig
from jaxrec.items import IdConfig
from jaxrec.models import TransformerConfig
from jaxrec.peft import TuneConfig
from jaxrec.runs import Sweep
from jaxrec.systems.generative import Config
from jaxrec.train import TrainConfig

START = "runs/quickstart"


def get_config() -> Config:
    """The supervised row."""
    return Config(
        max_items=30,
        data=DataConfig(name="ml-100k", min_count=5),
        ids=IdConfig(scheme="pq", levels=2, size=64, text_weight=0.2),
        model=TransformerConfig(dropout=0.2),
        tune=TuneConfig(base=START),
        train=TrainConfig(
            steps=600,
            batch_size=64,
            lr=2e-4,
            warmup_steps=20,
            weight_decay=0.0,
            ema_decay=0.99,
            eval_every=100,
        ),
    )


def get_start() -> Config:
    """The settings of the quickstart, which all rows start from."""
    return Config(
        max_items=30,
        data=DataConfig(name="ml-100k", min_count=5),
        ids=IdConfig(scheme="pq", levels=2, size=64, text_weight=0.2),
        model=TransformerConfig(
            width=64, depth=2, num_heads=2, activation="relu", gated=False, dropout=0.2
        ),
        train=TrainConfig(steps=1500, batch_size=64, lr=2e-3, ema_decay=0.995, eval_every=250),
        sasrec=SasrecConfig(
            max_items=30,
            dropout=0.2,
            train=TrainConfig(steps=2000, batch_size=64, lr=1e-3, ema_decay=0.995, eval_every=250),
        ),
    )


def get_sweep() -> Sweep:
    """More supervised training, which comes first, and three ways to align instead."""
    supervised = get_config()
    pairs = AlignConfig(method="dpo", beta=1.0, negatives=15, negatives_from="popularity")
    aligned = {
        "dpo": pairs,
        "sdpo": dataclasses.replace(pairs, method="sdpo"),
        "grpo": AlignConfig(
            method="grpo", group=16, kl=0.02, rewards=RewardConfig(hit=1.0, rank=1.0)
        ),
    }
    variants = {"supervised": supervised}
    for name, align in aligned.items():
        variants[name] = dataclasses.replace(
            supervised,
            align=align,
            model=dataclasses.replace(supervised.model, dropout=0.0),
            # Preferences and rewards move a model much faster away from what it has learned.
            train=dataclasses.replace(supervised.train, lr=5e-5),
        )
    return Sweep(variants=variants, metrics=("hr@10", "ndcg@10"), starts={START: get_start()})
