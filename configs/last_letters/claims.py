"""What a small model gains by writing its reasoning: last letters of names, with and without."""

import dataclasses

from jaxrec.models import TransformerConfig
from jaxrec.runs import Sweep
from jaxrec.systems.last_letters import LettersConfig, LettersDataConfig, LettersEvalConfig
from jaxrec.train import TrainConfig


def get_config() -> LettersConfig:
    return LettersConfig(
        data=LettersDataConfig(words=4, longest=8),
        model=TransformerConfig(
            width=128,
            depth=3,
            num_heads=4,
            mlp_width=256,
            positions="relative",
            relative_distance=64,
            qk_norm=True,
            remat="none",
        ),
        train=TrainConfig(
            steps=1200, batch_size=16, lr=5e-3, warmup_steps=50, weight_decay=0.01, eval_every=300
        ),
        eval=LettersEvalConfig(valid_instances=64, samples=5, max_tokens=160, batch_size=200),
    )


def get_sweep() -> Sweep:
    reasoning = get_config()
    return Sweep(
        variants={
            "chain of thought": reasoning,
            "direct answers": dataclasses.replace(reasoning, rationale=False),
        },
        metrics=("accuracy_trained", "accuracy_longer"),
        all_rows=True,
    )
