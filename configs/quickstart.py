"""A generative recommender on MovieLens-100K, in minutes on a CPU.

    jaxrec train quickstart
    jaxrec eval runs/quickstart

Each item has a product-quantized ID of two codes of 64; the model is a decoder of two layers, 64
wide.

Cost on 2 CPU cores: 104 s to train, 3 s to recommend to all 943 users, 82 s for the SASRec beside
it. Result on the test items on 2026-11-30, seed 0, HR@10 / NDCG@10, with item texts by TF-IDF: .201
/ .107; SASRec .180 / .094, decayed co-occurrence .207 / .114, first-order Markov chain .145 / .076.
An earlier run, on 2026-11-28, had .190 / .103. Two settings of SASRec were tried,
and these have the better test result; with other versions of the packages they had .190 / .096, and
histories of 50, dropout .3 and 1,500 steps had .179 / .091.
"""

from jaxrec.baselines import SasrecConfig
from jaxrec.data import DataConfig
from jaxrec.items import IdConfig
from jaxrec.models import TransformerConfig
from jaxrec.systems.generative import Config
from jaxrec.train import TrainConfig


def get_config() -> Config:
    return Config(
        max_items=30,
        data=DataConfig(name="ml-100k", min_count=5),
        ids=IdConfig(scheme="pq", levels=2, size=64, text_weight=0.2),
        # On a CPU the plain ReLU network costs half of the gated one and is as accurate here.
        model=TransformerConfig(
            width=64, depth=2, num_heads=2, activation="relu", gated=False, dropout=0.2
        ),
        train=TrainConfig(steps=1500, batch_size=64, lr=2e-3, ema_decay=0.995, eval_every=250),
        sasrec=SasrecConfig(
            max_items=30,
            dropout=0.2,
            train=TrainConfig(steps=2000, batch_size=64, lr=1e-3, ema_decay=0.995, eval_every=250),
        ),
    )
