"""Instruction tuning on 27 made-up tasks: lists, numbers, words and recommendation.

jaxrec train instruct/toy
jaxrec eval runs/instruct-toy
"""

from jaxrec.models import TransformerConfig
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
            name="toy tasks", tasks=("toy",), held_out_tasks=("last-films", "contains-words")
        ),
        writing=WritingConfig(frame="plain", per_datum=2, max_length=128),
        plain_steps=100,
        model=TransformerConfig(width=128, depth=4, num_heads=4),
        vocab_size=600,
        train=TrainConfig(
            steps=600, batch_size=24, lr=3e-3, warmup_steps=50, weight_decay=0.01, eval_every=150
        ),
        eval=InstructEvalConfig(valid_instances=200, test_instances=40, max_tokens=8),
    )
