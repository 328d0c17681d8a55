"""VQ-Rec from MovieTweetings to MovieLens-100K, of which a tenth of the users are known.

    jaxrec train configs/vqrec.py
    jaxrec eval runs/vqrec
    python tools/bench/transfer.py --seeds 3       # with the controls of `get_sweep`

Both rate films, fifteen years apart: 283 of MovieLens's 1,349 titles are among MovieTweetings'
2,414, the others are new to the sources.
"""

import dataclasses

from jaxrec.baselines.sasrec import SasrecConfig
from jaxrec.systems.config import DataConfig
from jaxrec.systems.vqrec import VqRecConfig
from jaxrec.train import TrainConfig


def get_config() -> VqRecConfig:
    return VqRecConfig(
        data=DataConfig(name="ml-100k", min_count=5),
        sources=("movietweetings-100k",),
        share=0.1,
        levels=16,
        size=64,
        model=SasrecConfig(
            width=64, max_items=30, buckets=2, dropout=0.2, temperature=0.07, synthetic=0.75
        ),
        pretrain=TrainConfig(steps=1200, batch_size=32, lr=1e-3, eval_every=300),
        assign=TrainConfig(
            steps=100, batch_size=32, lr=1e-1, warmup_steps=10, weight_decay=0.0, eval_every=50
        ),
        train=TrainConfig(
            steps=300, batch_size=32, lr=1e-3, warmup_steps=20, eval_every=50, patience=3
        ),
    )


def get_sweep() -> dict[str, VqRecConfig]:
    """The transfer, and what it has to beat; the first is what the others are compared with."""
    config = get_config()
    return {
        "codes, moved": config,
        "codes, moved, source's quantizer": dataclasses.replace(config, quantizer="source"),
        "codes, from scratch": dataclasses.replace(config, sources=()),
        "text vectors, moved": dataclasses.replace(config, items="text"),
        "text vectors, from scratch": dataclasses.replace(config, items="text", sources=()),
        "items, from scratch": dataclasses.replace(config, items="table", sources=()),
    }
