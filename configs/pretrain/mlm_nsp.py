"""BERT's pre-training on WikiText-2: masked tokens and next sentences, from scratch.

    jaxrec train pretrain/mlm_nsp
    jaxrec eval runs/pretrain-mlm_nsp

`--objective.whole-words True` predicts whole words. Cost: about 9 minutes on 2 CPU cores. Not
measured yet.
"""

from jaxrec.systems.pretrain import ObjectiveConfig, PretrainConfig, PretrainDataConfig, flavour
from jaxrec.train import TrainConfig


def get_config() -> PretrainConfig:
    return PretrainConfig(
        data=PretrainDataConfig(name="wikitext-2"),
        objective=ObjectiveConfig(name="mlm_nsp"),
        backbone="encoder",
        length=128,
        model=flavour("encoder", width=128, depth=3, num_heads=4, mlp_width=352, max_length=128),
        train=TrainConfig(steps=1000, batch_size=32, lr=2e-3, eval_every=250),
    )
