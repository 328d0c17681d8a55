"""Instruction tuning on 26 made-up tasks: lists, numbers, words and recommendation.

    jaxrec train instruct/toy
    jaxrec eval runs/instruct-toy

Two of the 28 tasks are held out, and the last wordings of each task. It is a short look at the
system; `instruct/claims` trains longer and says what is to be shown.

Cost: 300 steps of 23 GFLOP in products; about 3 minutes on 2 CPU cores.
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
            name="toy tasks", tasks=("toy",), held_out_tasks=("last-films", "second-words")
        ),
        writing=WritingConfig(frame="plain", per_datum=0, max_length=128),
        model=TransformerConfig(width=128, depth=4, num_heads=4),
        vocab_size=600,
        train=TrainConfig(
            steps=300, batch_size=24, lr=3e-3, warmup_steps=50, weight_decay=0.01, eval_every=150
        ),
        eval=InstructEvalConfig(valid_instances=100, test_instances=20, max_tokens=8),
    )
