"""The encoder of RecruitPro: BERT's pre-training on made-up recruitment texts, from scratch.

jaxrec train recruitpro/pretrain
"""

from jaxrec.data.recruitment import WorldOptions
from jaxrec.systems.pretrain import ObjectiveConfig, PretrainConfig, PretrainDataConfig, flavour
from jaxrec.train import TrainConfig


def get_config() -> PretrainConfig:
    return PretrainConfig(
        data=PretrainDataConfig(
            name="recruitment-world", world=WorldOptions(jobs=12000, people=6000)
        ),
        vocab_size=1536,
        objective=ObjectiveConfig(name="mlm_nsp"),
        backbone="encoder",
        length=96,
        model=flavour("encoder", width=128, depth=4, num_heads=4, mlp_width=512, max_length=128),
        train=TrainConfig(steps=600, batch_size=32, lr=2e-3, eval_every=300),
    )
