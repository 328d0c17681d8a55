"""RPG on Amazon Beauty, at a width that trains on two CPU cores.

    jaxrec train amazon/rpg
    jaxrec train amazon/rpg --data.name amazon-toys --run-dir runs/toys-rpg

`amazon/sasrec` says how all configs of this folder are compared, and `rpg/beauty` has the published
sizes. Seen items are kept in the lists, as in the paper. Texts are encoded by TF-IDF where a
sentence encoder would take long, and then 10.8 % of the items share all codes with another one;
--codes.text-encoder names the directory of an encoder.

Cost: 7.7 GFLOP in products a step, 93 TFLOP for all 12,000 (`--dry-run`): about 35 min at the 45
GFLOP a second that 2 CPU cores gave. Result: NOT MEASURED.
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
