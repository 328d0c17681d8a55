"""LLM4RS with a pretrained language model that LoRA tunes to rank.

    jaxrec train llm4rs/lora --tune.base PATH
    jaxrec eval runs/llm4rs-lora

PATH is a causal language model with its tokenizer: a GGUF file, a directory of Hugging Face or one
that `jaxrec import-hf` wrote. The option `--dry-run` of the first command prints the cost.
"""

from jaxrec.peft import TuneConfig
from jaxrec.systems.llm4rs import AskConfig, InstancesConfig, Llm4rsConfig
from jaxrec.train import TrainConfig


def get_config() -> Llm4rsConfig:
    return Llm4rsConfig(
        instances=InstancesConfig(seed=99),
        tune=TuneConfig(
            method="lora", base="models/smollm2", rank=8, alpha=16.0, targets=("query", "value")
        ),
        train=TrainConfig(
            steps=200, batch_size=4, lr=1e-3, warmup_steps=10, weight_decay=0.0, eval_every=200
        ),
        eval=AskConfig(forms=("list",), valid_instances=50, test_instances=100, shuffles=0),
    )
