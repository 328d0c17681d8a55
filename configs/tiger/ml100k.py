"""TIGER (Rajput et al. 2023, arXiv:2305.05065) on MovieLens-100K, at a size for a CPU.

    jaxrec train tiger/ml100k

RQ-VAE IDs of two codes of 64, and an encoder-decoder of T5's flavour, two and two layers, 64 wide.
Every prefix of a history is an example, so an epoch of 95,000 takes 1,500 steps. `tiger/beauty` has
the paper's sizes.

Cost: 12 TFLOP in products; 28 min on 2 CPU cores that a dozen other programs shared (7 steps a
second while two did). Result, seed 0, the first settings tried: HR@10 / NDCG@10 .197 / .103 on
validation, .152 [.129, .175] / .078 [.064, .091] on the test items. That is the first-order Markov
chain's .145 / .076 and less than the quickstart's decoder, .190 / .103, which learns from all items
of a window at once.
"""

from jaxrec.data import DataConfig
from jaxrec.items import IdConfig
from jaxrec.models import TransformerConfig
from jaxrec.systems.generative import Config, EvalConfig
from jaxrec.train import TrainConfig


def get_config() -> Config:
    return Config(
        max_items=20,
        architecture="encoder_decoder",
        data=DataConfig(name="ml-100k", min_count=5),
        ids=IdConfig(scheme="rqvae", levels=2, size=64, text_weight=0.2),
        # T5 1.0's flavour, so that the model can be exported as one.
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
