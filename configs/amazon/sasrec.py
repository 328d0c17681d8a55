"""SASRec on Amazon Beauty, with its tuned settings and seen items kept, as the others here.

    jaxrec train amazon/sasrec
    jaxrec compare amazon/generative amazon/hstu amazon/rpg amazon/sasrec amazon/tiger --seeds 3
    jaxrec train amazon/sasrec --data.name amazon-sports --run-dir runs/sports-sasrec

The second command compares all configs of this folder, which share data and protocol; add
`--data.name amazon-toys` for other data, and `--baselines popularity markov cooccurrence` for
counted rows. The settings are those of `sasrec/beauty`, which removes seen items, with two more:
the items of the history are always among the negatives, and items that were read have a learned
bias.

Chosen on validation, HR@10 / NDCG@10: .112 / .069; without the bias .107 / .054, and without both
.106 / .051. Test items, mean of three seeds, 2026-12-01, HR@10 / NDCG@10: .0889 / .0538. Published:
.0740 / .0423 (Cornac) to .0928 / .0523 (eSASRec). Cost: 7 min on one CPU core that shared the
machine.
"""

import dataclasses

from jaxrec.baselines import SasrecConfig
from jaxrec.data import DataConfig
from jaxrec.runs import BaselinesConfig, RankConfig, make_quick
from jaxrec.systems.sasrec import SasrecRunConfig
from jaxrec.train import TrainConfig


def get_config() -> SasrecRunConfig:
    return SasrecRunConfig(
        data=DataConfig(name="amazon-beauty", min_count=0),
        model=SasrecConfig(
            width=128,
            max_items=50,
            buckets=5,
            blocks="sasrec",
            depth=1,
            num_heads=1,
            dropout=0.5,
            attention_dropout=0.2,
            table_dropout=0.2,
            init_std=0.0127,
            objective="sampled_softmax",
            negatives=1024,
            history_negatives=True,
            repeat_bias=True,
        ),
        train=TrainConfig(
            steps=8000,
            batch_size=32,
            lr=1e-3,
            weight_decay=1e-2,
            ema_decay=0.999,
            eval_every=1000,
        ),
        decode=RankConfig(filter_seen=False),
        eval=BaselinesConfig(baselines=("popularity", "item_knn", "markov", "cooccurrence")),
    )


def get_quick_config() -> SasrecRunConfig:
    """A sample of the users with the whole catalogue."""
    config = get_config()
    data = dataclasses.replace(config.data, sample_users=300)
    return make_quick(dataclasses.replace(config, data=data))
