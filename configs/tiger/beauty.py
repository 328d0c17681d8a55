r"""TIGER (Rajput et al. 2023, arXiv:2305.05065) at the paper's sizes, on Amazon Beauty.

    jaxrec train tiger/beauty
    jaxrec train tiger/beauty --run-dir runs/tiger-sample --data.sample-users 2000 \
        --ids.text-encoder tfidf --ids.rqvae.hidden 128 --ids.rqvae.steps 1500 --train.steps 400 \
        --train.batch-size 16 --train.warmup-steps 50 --train.ema-decay 0.98 \
        --train.eval-every 200 --eval.valid-users 500

RQ-VAE IDs of three codes of 256 from item texts and a fourth code where they collide, 2,000 tokens
for users, an encoder-decoder of T5's flavour, four and four layers, 128 wide; each prefix of a
history is an example. Seen items are not removed from the lists, as in the paper. Two things differ
from the paper: AdamW with a cosine schedule in place of Adafactor, and MiniLM in place of
Sentence-T5.

Cost: 324 GFLOP in products a step, 13 PFLOP for all 40,000 steps: three days and more at the 45
GFLOP a second that 2 CPU cores gave, so it is meant for a GPU. It has not been run. The paper has
R@5 .0454, N@5 .0321, R@10 .0648, N@10 .0384.

The second command, a sample of 2,000 users with the whole catalogue, shows only that all of it
runs: 400 batches of a sixteenth of the size, 2.3 steps a second on 2 CPU cores, teach nothing yet.
Test, seed 0, HR@10 / NDCG@10: .0020 / .0010; popularity .0125 / .0058, Markov chain .0315 / .0205,
decayed co-occurrence .0400 / .0224.
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
        eval=EvalConfig(baselines=("popularity", "markov", "cooccurrence"), text_encoders=False),
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
