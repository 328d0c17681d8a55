"""TIGER (Rajput et al. 2023, arXiv:2305.05065) on Amazon Beauty, at half of the paper's depth.

    jaxrec train amazon/tiger
    jaxrec train amazon/tiger --data.name amazon-sports --run-dir runs/sports-tiger

`amazon/sasrec` says how all configs of this folder are compared. `tiger/beauty` has the paper's
sizes, for a GPU. This is the same model with two and two layers instead of four and four, heads of
32, an MLP of 512, no tokens for users, and a 27th of the examples, which is what CPU cores
allow. RQ-VAE IDs of three codes of 256 are made of texts alone, with a fourth code where they
collide. Seen items are kept in the lists, as in the paper, whose figures are R@10 .0648 and N@10
.0384.

Nothing was tuned. Validation, seed 1, HR@10 / NDCG@10 at 5,000 users: .044 / .022. Test items, mean
of three seeds, 2026-12-01: .0282 / .0138. It had only four passes over the data, and validation
still rose. Cost: 30 min on one CPU core that shared the machine.
"""

import dataclasses

from jaxrec.data import DataConfig
from jaxrec.ids import RqVaeConfig
from jaxrec.items import IdConfig
from jaxrec.models import TransformerConfig
from jaxrec.runs import make_quick
from jaxrec.systems.generative import BatchConfig, Config, DecodeConfig, EvalConfig
from jaxrec.train import TrainConfig


def get_config() -> Config:
    return Config(
        max_items=20,
        architecture="encoder_decoder",
        data=DataConfig(name="amazon-beauty", min_count=0),
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
            depth=2,
            num_heads=4,
            mlp_width=512,
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
            steps=6000,
            batch_size=64,
            lr=1e-3,
            warmup_steps=1000,
            ema_decay=0.999,
            eval_every=2000,
            patience=4,
        ),
        batches=BatchConfig(layout="bucket", buckets=4),
        decode=DecodeConfig(filter_seen=False),
        eval=EvalConfig(
            baselines=("popularity", "item_knn", "markov", "cooccurrence"), text_encoders=False
        ),
    )


def get_quick_config() -> Config:
    """A sample of the users, small batches, and IDs that need no sentence encoder."""
    config = get_config()
    autoencoder = dataclasses.replace(config.ids.rqvae, hidden=(128,))
    ids = dataclasses.replace(config.ids, text_encoder="tfidf", rqvae=autoencoder)
    return make_quick(
        dataclasses.replace(
            config,
            data=dataclasses.replace(config.data, sample_users=300),
            ids=ids,
            train=dataclasses.replace(config.train, batch_size=8, steps=60),
        )
    )
