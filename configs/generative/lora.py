"""LoRA on the quickstart's model: the base's parameters stay as they are.

jaxrec train quickstart                     # the base, which must exist first
jaxrec train generative/lora --dry-run      # parameters, bytes and memory of a step
jaxrec train generative/lora
jaxrec eval runs/generative-lora --no-baselines
"""

from jaxrec.data import DataConfig
from jaxrec.items import IdConfig
from jaxrec.models import TransformerConfig
from jaxrec.peft import TuneConfig
from jaxrec.systems.generative import Config
from jaxrec.train import TrainConfig


def get_config() -> Config:
    return Config(
        max_items=30,
        # A run must have the same items and IDs as its base.
        data=DataConfig(name="ml-100k", min_count=5),
        ids=IdConfig(scheme="pq", levels=2, size=64, text_weight=0.2),
        # The shape comes from the base; only settings of the training, such as dropout, are read.
        model=TransformerConfig(dropout=0.2),
        tune=TuneConfig(method="lora", base="runs/quickstart", rank=4, targets=("all",)),
        train=TrainConfig(
            steps=500, batch_size=64, lr=1e-3, schedule="linear", ema_decay=0.995, eval_every=100
        ),
    )
