"""P5's sequential family alone, on MovieLens-100K: what comes next, out of the whole catalogue.

    jaxrec train configs/p5_sequential.py
    jaxrec eval runs/p5_sequential

A prompt shows a history and names no user.
"""

import dataclasses

from jaxrec.systems.p5_config import P5Config
from jaxrec.train import TrainConfig


def get_config() -> P5Config:
    return P5Config(
        max_targets=50,
        history_users=False,
        tasks=("sequential",),
        rows=(256,),
        groups=1,
        model=dataclasses.replace(P5Config.model, embedding_scale=1.0, dropout=0.2),
        train=TrainConfig(steps=4000, batch_size=256, lr=2e-3, ema_decay=0.998, eval_every=500),
    )
