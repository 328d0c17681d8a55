"""RPG on Amazon Beauty, at a width that trains on two CPU cores.

    jaxrec train amazon/rpg
    jaxrec train amazon/rpg --data.name amazon-toys --run-dir runs/toys-rpg

`amazon/sasrec` says how all configs of this folder are compared, and `rpg/beauty` has the published
sizes. Seen items are kept in the lists, as in the paper. Unlike there, half of the 16 codes are of
vectors of co-occurrence, the dropout of .5, which belongs to a width of 448, is lower, and items
that were read have a learned bias. Texts are encoded by TF-IDF where a sentence encoder would take
long; --codes.text-encoder names the directory of an encoder.

Chosen on validation, HR@10 / NDCG@10 at 5,000 users: .102 / .058; without the bias .094 / .051.
Codes of texts alone with dropout .5 and no bias had .078 / .044; with dropout .3 and averaged
weights, texts alone were .001 behind at 2,000 steps. Twice as many codes, and twice the width, were
no better after 3,000 and 2,000 steps. Test items, mean of three seeds, 2026-12-01, HR@10 / NDCG@10:
.0702 / .0396, below the published .0809 / .0464 and the reproduced .0789 / .0454. Cost: 17 min on
one CPU core that shared the machine.
"""

import dataclasses

from jaxrec.data import DataConfig
from jaxrec.runs import RankConfig, SampledEvalConfig, make_quick
from jaxrec.systems.rpg import CodesConfig, NetworkConfig, RpgConfig
from jaxrec.train import TrainConfig


def get_config() -> RpgConfig:
    return RpgConfig(
        data=DataConfig(name="amazon-beauty", min_count=0),
        codes=CodesConfig(levels=16, collaborative=8),
        model=NetworkConfig(
            width=128,
            mlp_width=512,
            max_items=50,
            buckets=5,
            dropout=0.15,
            attention_dropout=0.1,
            repeat_bias=True,
        ),
        train=TrainConfig(
            steps=5000,
            batch_size=32,
            lr=5e-3,
            warmup_steps=1000,
            weight_decay=0.0,
            ema_decay=0.999,
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
            data=dataclasses.replace(config.data, sample_users=300),
            codes=dataclasses.replace(config.codes, text_encoder="tfidf"),
        )
    )
