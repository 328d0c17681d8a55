"""TALLRec's questions answered by a small model from scratch, all 8,000 windows.

jaxrec train configs/tallrec.py
"""

from jaxrec.models import TransformerConfig
from jaxrec.systems.tallrec import TallrecConfig
from jaxrec.train import TrainConfig


def get_config() -> TallrecConfig:
    return TallrecConfig(
        shorter=(0, 3),
        on_prompt=False,
        model=TransformerConfig(width=64, depth=2, num_heads=2, dropout=0.2),
        train=TrainConfig(steps=800, batch_size=64, lr=4e-3, ema_decay=0.99, eval_every=100),
    )
