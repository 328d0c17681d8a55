"""The base of the study of prompts: a small decoder that answers yes/no questions about films."""

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
            name="films", tasks=("films",), film_rows=12000, valid_share=0.02, test_share=0.02
        ),
        writing=WritingConfig(frame="alpaca", per_datum=1, cap=12000, max_length=256, packed=False),
        model=TransformerConfig(width=64, depth=3, num_heads=4, dropout=0.1),
        vocab_size=1000,
        train=TrainConfig(
            steps=1200, batch_size=48, lr=3e-3, warmup_steps=50, weight_decay=0.05, eval_every=300
        ),
        eval=InstructEvalConfig(valid_instances=300, test_instances=100, max_tokens=4),
    )
