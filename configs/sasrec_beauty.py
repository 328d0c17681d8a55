"""SASRec on Amazon Beauty, with softmax over the target and 1,024 drawn items.

jaxrec train configs/sasrec_beauty.py
jaxrec eval runs/sasrec_beauty
"""

from jaxrec.baselines.sasrec import SasrecConfig
from jaxrec.systems.config import DataConfig, DecodeConfig, EvalConfig
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
            dropout=0.5,
            objective="sampled_softmax",
            negatives=1024,
        ),
        train=TrainConfig(steps=6000, batch_size=32, lr=1e-3, weight_decay=1e-2, eval_every=500),
        decode=DecodeConfig(filter_seen=False),
        eval=EvalConfig(baselines=("popularity", "item_knn", "markov", "cooccurrence")),
    )
