"""DPO on text in three ways, from one model that was tuned to describe occupations.

    jaxrec sweep dpo/claims --seeds 1

The sweep trains runs/instruct-occupations first if it is not there. All rows learn to prefer the
right description of an O*NET occupation to three others. "dpo" takes them one at a time and "sdpo"
all at once; "lora" is "sdpo" that tunes a small part of the model. The metrics are those of the
answers that a model finds likely, on occupations that neither training has seen:
`likelier_per_token` is the share of wrong descriptions that are less likely than the right one.

MEASURED
"""

import dataclasses

from jaxrec.models import TransformerConfig
from jaxrec.peft import TuneConfig
from jaxrec.runs import Sweep
from jaxrec.systems.dpo import DpoConfig, PreferenceConfig
from jaxrec.systems.instruct import (
    InstructConfig,
    InstructDataConfig,
    InstructEvalConfig,
    WritingConfig,
)
from jaxrec.train import TrainConfig

START = "runs/instruct-occupations"


def get_start() -> InstructConfig:
    """A model from scratch that learns to name and describe occupations."""
    return InstructConfig(
        data=InstructDataConfig(name="occupations", tasks=("occupations",)),
        writing=WritingConfig(frame="plain", per_datum=0, max_length=192),
        model=TransformerConfig(width=128, depth=2, num_heads=4),
        vocab_size=2048,
        train=TrainConfig(steps=200, batch_size=16, lr=3e-3, warmup_steps=20, eval_every=100),
        eval=InstructEvalConfig(valid_instances=30, test_instances=30, max_tokens=48),
    )


def get_config() -> DpoConfig:
    return DpoConfig(
        data=PreferenceConfig(name="occupations", rejected=3, valid=0.05, test=0.1),
        frame="plain",
        beta=0.1,
        max_length=192,
        tune=TuneConfig(method="full", base=START),
        train=TrainConfig(
            steps=60,
            batch_size=8,
            lr=1e-4,
            warmup_steps=10,
            schedule="linear",
            weight_decay=0.0,
            eval_every=20,
        ),
    )


def get_sweep() -> Sweep:
    config = get_config()
    lora = TuneConfig(method="lora", base=START, targets=("query", "key", "value", "mlp/up"))
    # Updates that begin at 0 need a larger rate.
    faster = dataclasses.replace(config.train, lr=1e-3)
    return Sweep(
        variants={
            "dpo": config,
            "sdpo": dataclasses.replace(config, loss="sdpo"),
            "lora": dataclasses.replace(config, loss="sdpo", tune=lora, train=faster),
        },
        metrics=("likelier_per_token", "likelier"),
        starts={START: get_start()},
    )
