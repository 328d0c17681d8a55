"""Language modeling on WikiText-2: a small Llama from scratch.

    jaxrec train pretrain/lm
    jaxrec eval runs/pretrain-lm
    jaxrec export runs/pretrain-lm --to hf --out models/lm

The tokenizer is trained on the training part, which is 85 % of the documents of the files that are
there. Cost: about 9 minutes on 2 CPU cores. Not measured yet.
"""

from jaxrec.systems.pretrain import ObjectiveConfig, PretrainConfig, PretrainDataConfig, flavour
from jaxrec.train import TrainConfig


def get_config() -> PretrainConfig:
    return PretrainConfig(
        data=PretrainDataConfig(name="wikitext-2"),
        objective=ObjectiveConfig(name="lm"),
        backbone="causal",
        length=128,
        model=flavour("causal", width=128, depth=3, num_heads=4, mlp_width=352),
        train=TrainConfig(steps=1000, batch_size=32, lr=4e-3, eval_every=250),
    )
