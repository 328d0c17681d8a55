"""Questions about occupations: a small model learns to name and to describe them.

    jaxrec train instruct/occupations
    jaxrec eval runs/instruct-occupations

The tasks are made of O*NET's descriptions, read from `onet-occupations` below JAXREC_DATA. The
model is from scratch; `domain/jobs` begins with plain text of the domain instead. `align/dpo_text`
and `dpo/claims` start from this run.

MEASURED
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
        data=InstructDataConfig(name="occupations", tasks=("occupations",)),
        writing=WritingConfig(frame="plain", per_datum=0, max_length=192),
        model=TransformerConfig(width=128, depth=2, num_heads=4),
        vocab_size=2048,
        train=TrainConfig(steps=200, batch_size=16, lr=3e-3, warmup_steps=20, eval_every=100),
        eval=InstructEvalConfig(valid_instances=30, test_instances=30, max_tokens=48),
    )
