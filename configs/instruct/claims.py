"""What instruction tuning shows on made-up tasks: answers to wordings and tasks never trained.

    jaxrec sweep instruct/claims --seeds 1

Rows: "tuned" is trained on 26 tasks in several wordings. "untuned" is the same model before the
tuning, after its training on the same data as plain text, without instructions. "constant answer"
gives the most frequent right answer of each task. "tuned, even mixture" limits every task to 300
examples in an epoch, so that small tasks weigh as much as large ones.
"""

import dataclasses

from jaxrec.models import TransformerConfig
from jaxrec.runs import Sweep
from jaxrec.systems.instruct import (
    InstructConfig,
    InstructDataConfig,
    InstructEvalConfig,
    WritingConfig,
)
from jaxrec.train import TrainConfig


def get_config() -> InstructConfig:
    return InstructConfig(
        data=InstructDataConfig(
            name="made-up tasks", tasks=("toy",), held_out_tasks=("last-films", "second-words")
        ),
        writing=WritingConfig(frame="plain", per_datum=0, max_length=128),
        plain_steps=100,
        model=TransformerConfig(width=128, depth=4, num_heads=4),
        vocab_size=600,
        train=TrainConfig(
            steps=700, batch_size=24, lr=3e-3, warmup_steps=50, weight_decay=0.01, eval_every=350
        ),
        eval=InstructEvalConfig(valid_instances=200, test_instances=25, max_tokens=8),
    )


def get_sweep() -> Sweep:
    tuned = get_config()
    even = dataclasses.replace(tuned, writing=dataclasses.replace(tuned.writing, cap=300))
    return Sweep(
        variants={"tuned": tuned, "tuned, even mixture": even},
        metrics=("exact_match_templates", "exact_match_tasks"),
        all_rows=True,
    )
