"""HSTU on MovieLens-1M at the smaller of the paper's sizes, with positions and time gaps.

    jaxrec train hstu/ml1m
    jaxrec eval runs/hstu-ml1m

The paper's figures, HR@10 / NDCG@10 over the full catalogue, are .3097 / .1720, and .2853 / .1603
for SASRec with the same objective. `--dry-run` prints the cost of a training. Result: NOT MEASURED.
"""

import dataclasses

from jaxrec.baselines import HstuConfig
from jaxrec.data import DataConfig
from jaxrec.runs import BaselinesConfig, RankConfig, make_quick
from jaxrec.systems.hstu import HstuRunConfig
from jaxrec.train import TrainConfig


def get_config() -> HstuRunConfig:
    return HstuRunConfig(
        data=DataConfig(name="ml-1m", min_count=0),
        model=HstuConfig(width=50, max_items=200, depth=2, num_heads=1, buckets=3),
        train=TrainConfig(
            steps=5000,
            batch_size=128,
            lr=1e-3,
            weight_decay=0.0,
            eval_every=500,
            patience=4,
        ),
        decode=RankConfig(filter_seen=False),
        eval=BaselinesConfig(baselines=("popularity", "item_knn", "markov", "cooccurrence")),
    )


def get_quick_config() -> HstuRunConfig:
    """A sample of the users with the whole catalogue."""
    config = get_config()
    data = dataclasses.replace(config.data, sample_users=1000)
    return make_quick(dataclasses.replace(config, data=data))
