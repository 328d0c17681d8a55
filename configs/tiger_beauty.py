"""TIGER Beauty."""

from jaxrec.ids.rqvae import RqVaeConfig
from jaxrec.models import TransformerConfig
from jaxrec.systems.config import (
    BatchConfig,
    Config,
    DataConfig,
    DecodeConfig,
    EvalConfig,
    IdConfig,
)
from jaxrec.train import TrainConfig


def get_config() -> Config:
    return Config(
        max_items=20,
        architecture="encoder_decoder",
        user_tokens=2000,
        data=DataConfig(name="amazon-beauty", min_count=5),
        ids=IdConfig(
            scheme="rqvae",
            levels=3,
            size=256,
            text_weight=1.0,
            rqvae=RqVaeConfig(latent=32, hidden=(512, 256, 128)),
            repair="suffix",
        ),
        model=TransformerConfig(
            width=128,
            depth=4,
            num_heads=6,
            head_size=64,
            mlp_width=1024,
            positions="relative",
            activation="relu",
            gated=False,
            query_scale=1.0,
            logit_scale=128**-0.5,
            dropout=0.1,
            attention_dropout=0.1,
            mlp_dropout=0.1,
        ),
        train=TrainConfig(
            steps=40_000,
            batch_size=256,
            lr=1e-3,
            warmup_steps=2000,
            ema_decay=0.999,
            eval_every=2000,
            patience=5,
        ),
        batches=BatchConfig(layout="bucket", buckets=4),
        decode=DecodeConfig(beams=20, filter_seen=False),
        eval=EvalConfig(baselines=("popularity", "markov", "cooccurrence")),
    )
