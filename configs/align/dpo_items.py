"""S-DPO on the quickstart's model: the next item is preferred to other popular items.

    jaxrec train quickstart                    # the start, which must exist first
    jaxrec train align/dpo_items
    jaxrec train align/dpo_items --align.method dpo --run-dir runs/align-dpo      # pairs
    jaxrec eval runs/align-dpo_items --no-baselines

Each of 64 histories a step has 15 negatives, drawn by popularity. With `--align.negatives-from
beams` they are what the start recommends instead: items that the user might well have taken, so a
learning rate above 1e-5 soon costs more than it gains.

Cost: about .15 s of CPU time a step on one core. See align/claims for what was measured.
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
        align=AlignConfig(method="sdpo", beta=1.0, negatives=15, negatives_from="popularity"),
        train=TrainConfig(
            steps=600,
            batch_size=64,
            lr=5e-5,
            warmup_steps=20,
            weight_decay=0.0,
            ema_decay=0.99,
            eval_every=100,
        ),
    )
