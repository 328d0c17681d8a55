"""UL2's mixture of denoisers on WikiText-2: a small prefix decoder from scratch.

    jaxrec train pretrain/mixture
    jaxrec eval runs/pretrain-mixture

Inputs begin with the mode of their denoiser: [NLU] for R, [S2S] for S and [NLG] for X. Two examples
share a row. `--objective.name three_way` draws the modes equally often, `ul2r` is the mixture for
training on, and `--objective.language 0.5` makes half of the examples plain language modeling.

Cost: about 9 minutes on 2 CPU cores. Not measured yet.
"""

from jaxrec.systems.pretrain import ObjectiveConfig, PretrainConfig, PretrainDataConfig, flavour
from jaxrec.train import TrainConfig


def get_config() -> PretrainConfig:
    return PretrainConfig(
        data=PretrainDataConfig(name="wikitext-2"),
        objective=ObjectiveConfig(name="ul2"),
        backbone="prefix",
        length=128,
        per_row=2,
        model=flavour("prefix", width=128, depth=3, num_heads=4, mlp_width=352),
        train=TrainConfig(steps=1000, batch_size=16, lr=4e-3, eval_every=250),
    )
