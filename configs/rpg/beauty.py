"""RPG (Hou et al., KDD 2025, arXiv:2506.05781) at the published sizes, on Amazon Beauty.

    jaxrec train rpg/beauty
    jaxrec eval runs/rpg-beauty

IDs of 32 codes of 256, a decoder of two layers and width 448. Seen items are kept in the lists, as
in the paper, whose figures on the test items are .0809 / .0464 (HR@10 / NDCG@10), reproduced as
.0789 / .0454. `amazon/rpg` is a smaller one for two CPU cores.

Cost and result: NOT MEASURED.
"""

import dataclasses

from jaxrec.data import DataConfig
from jaxrec.runs import RankConfig, SampledEvalConfig, make_quick
from jaxrec.systems.rpg import CodesConfig, NetworkConfig, RpgConfig
from jaxrec.train import TrainConfig


def get_config() -> RpgConfig:
    return RpgConfig(
        data=DataConfig(name="amazon-beauty", min_count=0),
        codes=CodesConfig(levels=32),
        model=NetworkConfig(width=448, mlp_width=1024, max_items=50, buckets=5),
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
