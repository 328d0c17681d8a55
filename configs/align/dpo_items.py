"""S-DPO on the quickstart's model: the next item is preferred to what the model recommends instead.

    jaxrec train quickstart                    # the start, which must exist first
    jaxrec train align/dpo_items
    jaxrec train align/dpo_items --align.method dpo --run-dir runs/align-dpo      # pairs
    jaxrec eval runs/align-dpo_items --no-baselines

Each of 64 histories a step has three negatives, the best items that the start recommends besides
the next one. See docs/guides/item_alignment.md.
"""

from jaxrec.align import AlignConfig
from jaxrec.data import DataConfig
from jaxrec.items import IdConfig
from jaxrec.models import TransformerConfig
from jaxrec.peft import TuneConfig
from jaxrec.systems.generative import Config
from jaxrec.train import TrainConfig


def get_config() -> Config:
    return Config(
        max_items=30,
        # A run must have the same items and IDs as its start.
        data=DataConfig(name="ml-100k", min_count=5),
        ids=IdConfig(scheme="pq", levels=2, size=64, text_weight=0.2),
        # The shape comes from the start. Dropout would make log-probabilities random.
        model=TransformerConfig(dropout=0.0),
        tune=TuneConfig(base="runs/quickstart"),
        align=AlignConfig(method="sdpo", beta=1.0, negatives=3, negatives_from="beams"),
        train=TrainConfig(
            steps=600,
            batch_size=64,
            lr=1e-4,
            warmup_steps=20,
            weight_decay=0.0,
            ema_decay=0.99,
            eval_every=100,
        ),
    )
