"""T5's span corruption on WikiText-2: a small T5 from scratch.

    jaxrec train pretrain/denoising
    jaxrec eval runs/pretrain-denoising

Other noise has the same layout: `--objective.name infilling`, `masking` or `deletion` are BART's,
and `prefix_lm` reads the beginning of a text and writes its rest. Cost: about 9 minutes on 2 CPU
cores. Not measured yet.
"""

from jaxrec.systems.pretrain import ObjectiveConfig, PretrainConfig, PretrainDataConfig, flavour
from jaxrec.train import TrainConfig


def get_config() -> PretrainConfig:
    return PretrainConfig(
        data=PretrainDataConfig(name="wikitext-2"),
        objective=ObjectiveConfig(name="denoising"),
        backbone="encoder_decoder",
        length=128,
        model=flavour("encoder_decoder", width=128, depth=2, num_heads=4, mlp_width=352),
        train=TrainConfig(steps=1000, batch_size=32, lr=4e-3, eval_every=250),
    )
