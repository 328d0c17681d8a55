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
    )


def get_sweep() -> Sweep:
    return Sweep(variants={"tuned": get_config()}, metrics=("ndcg@3", "mrr@3"), all_rows=True)
