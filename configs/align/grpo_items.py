"""GRPO on the quickstart's model: its own lists are rewarded for where they put the next item.

    jaxrec train quickstart                    # the start, which must exist first
    jaxrec train align/grpo_items
    jaxrec eval runs/align-grpo_items --no-baselines

Each step recommends 16 items to 64 histories by the constrained beam search, rewards the next item
for its rank, punishes the items above it, and moves the policy. About three quarters of the
groups miss the next item and give no gradient.

Cost: .22 s of CPU time a step on one core, of which the rollout takes a third. See align/claims for
what was measured.
"""

from jaxrec.align import AlignConfig, RewardConfig
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
        align=AlignConfig(
            method="grpo", group=16, kl=0.02, rewards=RewardConfig(hit=1.0, rank=1.0)
        ),
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
