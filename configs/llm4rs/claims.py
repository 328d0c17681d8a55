"""What a small model that is tuned to rank reaches on LLM4RS, beside baselines of the same ratings.

jaxrec sweep llm4rs/claims --seeds 1
"""

import dataclasses

from jaxrec.models import TransformerConfig
from jaxrec.runs import Sweep
from jaxrec.systems.llm4rs import AskConfig, InstancesConfig, Llm4rsConfig, PromptConfig
from jaxrec.train import TrainConfig


def get_config() -> Llm4rsConfig:
    return Llm4rsConfig(
        instances=InstancesConfig(seed=99),
        prompt=PromptConfig(quoted=True),
        draws=1,
        model=TransformerConfig(width=64, depth=2, num_heads=4, dropout=0.0, max_length=256),
        train=TrainConfig(
            steps=1500, batch_size=16, lr=4e-3, warmup_steps=50, ema_decay=0.98, eval_every=500
        ),
        eval=AskConfig(curve=(0.01, 0.1, 0.4, 1.0), valid_instances=150),
    )


def get_sweep() -> Sweep:
    config = get_config()
    longer = dataclasses.replace(
        config,
        shortened=0.5,
        train=dataclasses.replace(config.train, steps=2600, eval_every=1300),
    )
    return Sweep(
        variants={"tuned": config, "shortened": longer}, metrics=("ndcg@3",), all_rows=True
    )
