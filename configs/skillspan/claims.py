"""What a CRF gives with full labels, and what helps with the labels of half a lexicon: SkillSpan.

jaxrec sweep skillspan/claims --seeds 1
"""

import dataclasses

from jaxrec.runs import Sweep
from jaxrec.systems.skills import (
    DistantConfig,
    SkillLossConfig,
    SkillsConfig,
    StudentConfig,
)
from jaxrec.train import TrainConfig


def get_config() -> SkillsConfig:
    return SkillsConfig(
        train=TrainConfig(
            steps=240,
            batch_size=8,
            lr=5e-4,
            warmup_steps=24,
            schedule="linear",
            weight_decay=0.01,
            eval_every=80,
            log_every=20,
        )
    )


def get_sweep() -> Sweep:
    full = get_config()
    words = dataclasses.replace(full, tagger=dataclasses.replace(full.tagger, crf=False))
    lexicon = DistantConfig(coverage=0.5, max_count=20, uncertain="outside")
    # Labels of a lexicon are learned by heart in more steps.
    short = dataclasses.replace(full.train, steps=160)
    naive = dataclasses.replace(full, distant=lexicon, train=short)
    ratio = dataclasses.replace(
        naive,
        distant=dataclasses.replace(lexicon, uncertain="unknown", partial=2, unmatched="unknown"),
        # The shares of the validation texts, of which the gold labels are known.
        loss=SkillLossConfig(ratio=1.0, shares=(0.13, 0.08), margin=0.02),
    )
    student = dataclasses.replace(ratio, student=StudentConfig(rounds=1, steps=80, lr=2e-4))
    return Sweep(
        variants={"crf": full, "words": words, "naive": naive, "ratio": ratio, "student": student},
        metrics=("f1",),
    )
