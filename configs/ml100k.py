"""The best that the generative model reaches on MovieLens-100K so far, chosen on validation.

    jaxrec train configs/ml100k.py

The quickstart's model, trained longer with more dropout and a slower moving average.
Cost and result: see below, to be measured.
"""

from jaxrec.baselines.sasrec import SasrecConfig
from jaxrec.models import TransformerConfig
from jaxrec.systems.config import Config, DataConfig, IdConfig
from jaxrec.train import TrainConfig


def get_config() -> Config:
    return Config(
        max_items=30,
        data=DataConfig(name="ml-100k", min_count=5),
        ids=IdConfig(scheme="pq", levels=2, size=64, text_weight=0.2),
        model=TransformerConfig(
            width=64, depth=2, num_heads=2, activation="relu", gated=False, dropout=0.35
        ),
        train=TrainConfig(steps=2500, batch_size=64, lr=2e-3, ema_decay=0.998, eval_every=250),
        sasrec=SasrecConfig(
            max_items=30,
            dropout=0.2,
            train=TrainConfig(steps=2000, batch_size=64, lr=1e-3, ema_decay=0.995, eval_every=250),
        ),
    )
