"""OpenP5: the sequential and the straightforward task as text, by a small T5 from scratch.

    jaxrec train configs/openp5.py
    jaxrec eval runs/openp5
    jaxrec compare configs/openp5.py --baselines popularity markov

One token an item and one a user, six and five wordings, a prefix of a training history or a user
alone; the item with the highest probability among all that the trie of IDs allows.
"""

from jaxrec.models import TransformerConfig
from jaxrec.systems.p5_config import P5Config
from jaxrec.train import TrainConfig


def get_config() -> P5Config:
    return P5Config(
        tasks=("sequential", "straightforward"),
        rows=(96, 32),
        model=TransformerConfig(
            width=64,
            depth=1,
            encoder_depth=2,
            num_heads=2,
            positions="relative",
            activation="relu",
            gated=False,
            word_rows=512,
            dropout=0.1,
        ),
        train=TrainConfig(steps=3000, batch_size=128, lr=2e-3, ema_decay=0.995, eval_every=500),
    )
