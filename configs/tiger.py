"""TIGER."""

from jaxrec.models import TransformerConfig
from jaxrec.systems.config import Config, DataConfig, EvalConfig, IdConfig
from jaxrec.train import TrainConfig


def get_config() -> Config:
    return Config(
        max_items=20,
        architecture="encoder_decoder",
        data=DataConfig(name="ml-100k", min_count=5),
        ids=IdConfig(scheme="rqvae", levels=2, size=64, text_weight=0.2),
        # T5 1.0's flavour, so that the model leaves as one.
        model=TransformerConfig(
            width=64,
            depth=2,
            num_heads=4,
            mlp_width=256,
            positions="relative",
            activation="relu",
            gated=False,
            query_scale=1.0,
            logit_scale=64**-0.5,
            dropout=0.1,
        ),
        train=TrainConfig(steps=6000, batch_size=64, lr=2e-3, ema_decay=0.995, eval_every=1000),
        eval=EvalConfig(baselines=("popularity", "markov", "cooccurrence", "sasrec")),
    )
