"""RPG on Amazon Beauty, at a width that trains on two CPU cores.

    jaxrec train rpg/beauty
    jaxrec eval runs/rpg-beauty
    jaxrec train rpg/beauty --model.width 448 --model.mlp-width 1024 --codes.levels 32

The second training has the published sizes; `--dry-run` prints what either costs. Seen items are
kept in the lists, as in the paper, whose figures on the test items are .0809 / .0464 (HR@10 /
NDCG@10), reproduced as .0789 / .0454. It has not been trained to its end here yet.
"""

import dataclasses

from jaxrec.data import DataConfig
from jaxrec.runs import RankConfig, SampledEvalConfig, make_quick
from jaxrec.systems.rpg import CodesConfig, NetworkConfig, RpgConfig
from jaxrec.train import TrainConfig


def get_config() -> RpgConfig:
    return RpgConfig(
        data=DataConfig(name="amazon-beauty", min_count=0),
        codes=CodesConfig(levels=16),
        model=NetworkConfig(width=128, mlp_width=512, max_items=50, buckets=5),
        train=TrainConfig(
            steps=12_000,
            batch_size=32,
            lr=5e-3,
            warmup_steps=1000,
            weight_decay=0.0,
            eval_every=1000,
            patience=4,
        ),
        decode=RankConfig(filter_seen=False),
        eval=SampledEvalConfig(baselines=("popularity", "item_knn", "markov", "cooccurrence")),
    )


def get_quick_config() -> RpgConfig:
    """A sample of the users, and IDs that need no sentence encoder."""
    config = get_config()
    return make_quick(
        dataclasses.replace(
            config,
            data=dataclasses.replace(config.data, sample_users=1000),
            codes=dataclasses.replace(config.codes, text_encoder="tfidf"),
        )
    )
