"""SASRec on Amazon Beauty, with softmax over the target and 1,024 drawn items.

    jaxrec train configs/sasrec_beauty.py
    jaxrec eval runs/sasrec_beauty

Cost: 47 min on 2 CPU cores that other programs shared. Result on the test items, seed 0, seen items
kept, HR@10 / NDCG@10: .079 [.075, .082] / .043 [.041, .045] (HR@5 / NDCG@5 .051 / .034); validation
.099 / .054, no better after step 15,000. Markov chain .066 / .043, decayed co-occurrence .074 /
.044, item-kNN .052 / .027, popularity .012 / .006. The settings are the first tried at this length.
"""

from jaxrec.baselines.sasrec import SasrecConfig
from jaxrec.systems.config import DataConfig, EvalConfig
from jaxrec.systems.sasrec import SasrecRunConfig
from jaxrec.train import TrainConfig


def get_config() -> SasrecRunConfig:
    return SasrecRunConfig(
        data=DataConfig(name="amazon-beauty", min_count=0),
        # Histories are short, 6.9 items to train on: five lengths instead of 50 save most padding.
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
        ),
        train=TrainConfig(
            steps=8000,
            batch_size=32,
            lr=1e-3,
            weight_decay=1e-2,
            ema_decay=0.999,
            eval_every=1000,
        ),
        eval=EvalConfig(baselines=("popularity", "item_knn", "markov", "cooccurrence")),
    )
