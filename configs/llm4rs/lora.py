"""LLM4RS with a pretrained language model that LoRA tunes to rank.

    jaxrec train llm4rs/lora --tune.base PATH
    jaxrec eval runs/llm4rs-lora

PATH is a causal language model with its tokenizer: a GGUF file, a directory of Hugging Face or one
that `jaxrec import-hf` wrote. The option `--dry-run` of the first command prints the cost.

Result on 2026-11-30 with SmolLM2-135M-Instruct, 1,000 texts of the list-wise form (250 steps), 50
test instances; NDCG@3 with intervals over users:

    constrained    .340 [.233, .451]
    free           .398 [.292, .504]
    untuned        .412 [.311, .516]    constrained, without an example
    random         .426
    item-mean      .503 [.384, .611]
    item-knn       .559 [.454, .665]

It learns the form: all free answers are legal, and none is before the tuning. It does not learn to
rank from so few texts: its validation figure, .431 of 50 instances, is that of a random order.
`llm4rs/claims` has a small model that learns from all ratings.

Cost: 107 TFLOP in products, 26 CPU minutes with the evaluation.
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
            steps=250, batch_size=4, lr=1e-3, warmup_steps=10, weight_decay=0.0, eval_every=250
        ),
        eval=AskConfig(forms=("list",), valid_instances=50, test_instances=50, shuffles=0),
    )
