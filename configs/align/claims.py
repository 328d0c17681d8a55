"""Preferences and rewards against more supervised training, from the quickstart's model on.

    jaxrec sweep align/claims --seeds 3

The sweep trains runs/quickstart first if it is not there. All rows start from its parameters and
take the same number of steps on the same number of histories: "supervised" goes on as before,
"dpo" and "sdpo" prefer the next item to what the start recommends, and "grpo" rewards the ranks in
the policy's own lists. The checkpoint is chosen by validation in each row. Public reproductions of
such training found it at or below its supervised start, so a gain counts only if its interval over
users and seeds excludes 0.
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
    aligned = {
        "dpo": AlignConfig(method="dpo", beta=1.0, negatives=3),
        "sdpo": AlignConfig(method="sdpo", beta=1.0, negatives=3),
        "grpo": AlignConfig(
            method="grpo", group=16, kl=0.02, rewards=RewardConfig(hit=1.0, rank=1.0)
        ),
    }
    variants = {"supervised": supervised}
    for name, align in aligned.items():
        variants[name] = dataclasses.replace(
            supervised, align=align, model=dataclasses.replace(supervised.model, dropout=0.0)
        )
    return Sweep(variants=variants, metrics=("hr@10", "ndcg@10"), starts={START: get_start()})
