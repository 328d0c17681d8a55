"""LoRA on the quickstart's model: the rest is read from the base and stays as it is.

    jaxrec train configs/quickstart.py
    jaxrec train configs/ml100k_lora.py --dry-run     # parameters, bytes and memory of a step
    jaxrec train configs/ml100k_lora.py
    jaxrec eval runs/ml100k_lora --no-baselines

The base needs its own run first.
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
        # The base's items and IDs, or it would be refused.
        data=DataConfig(name="ml-100k", min_count=5),
        ids=IdConfig(scheme="pq", levels=2, size=64, text_weight=0.2),
        # Of this only what training alone reads: the shape is the base's.
        model=TransformerConfig(dropout=0.2),
        tune=TuneConfig(method="lora", base="runs/quickstart", rank=4, targets=("all",)),
        train=TrainConfig(
            steps=500, batch_size=64, lr=1e-3, schedule="linear", ema_decay=0.995, eval_every=100
        ),
    )
