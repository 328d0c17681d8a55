"""The power law L(N) of Kaplan et al. on WikiText-2: five sizes of one model on the same tokens.

    jaxrec sweep scaling/claims
    jaxrec scaling fit runs/scaling-claims-sweep --plot runs/scaling.png

All sizes share the data, the tokenizer, the number of tokens and the batch. The learning rate of
each decays to zero at its last step, because a size whose decay is cut short looks worse than it
is. N counts parameters without embeddings; `jaxrec scaling fit` also fits all parameters.

The goal: the logarithms of loss and N are on a line with an R² of .98 or more, and the loss of the
largest model is within 3 % of what the other four predict. Both are reached, barely (2026-11-30,
seed 0): R² .983, off by 2.9 %, alpha_N .051. The loss of the test part at widths 16 to 128 is
4.535, 4.185, 3.857, 3.724 and 3.699; the largest two leave the line, because 1,500 steps pass the
corpus nine times. With embeddings counted, R² is .970 and the error 3.8 %. Cost: 23 CPU minutes.
"""

import dataclasses

from jaxrec.models import TransformerConfig
from jaxrec.systems.pretrain import ObjectiveConfig, PretrainConfig, PretrainDataConfig, flavour
from jaxrec.train import TrainConfig

# Width and peak learning rate, from 6 thousand to 400 thousand parameters in two layers.
SIZES = {16: 1.6e-2, 32: 1.1e-2, 64: 8e-3, 96: 6.5e-3, 128: 5.5e-3}


def get_config() -> PretrainConfig:
    return PretrainConfig(
        data=PretrainDataConfig(name="wikitext-2"),
        objective=ObjectiveConfig(name="lm"),
        backbone="causal",
        length=128,
        model=_model(16),
        train=TrainConfig(
            steps=1500, batch_size=32, lr=SIZES[16], final_fraction=0.0, eval_every=750
        ),
    )


def get_sweep() -> dict[str, PretrainConfig]:
    config = get_config()
    return {
        f"width {width}": dataclasses.replace(
            config, model=_model(width), train=dataclasses.replace(config.train, lr=lr)
        )
        for width, lr in SIZES.items()
    }


def _model(width: int) -> TransformerConfig:
    # A gated MLP of 8/3 of the width has as many parameters as a plain one of 4 times the width.
    mlp_width = round(width / 3) * 8
    return flavour(
        "causal", width=width, depth=2, num_heads=max(1, width // 32), mlp_width=mlp_width
    )
