"""draft

jaxrec train glrec/ml_100k
"""

from jaxrec.models import TransformerConfig
from jaxrec.systems.glrec import GlrecConfig, GlrecEvalConfig
from jaxrec.train import TrainConfig


def get_config() -> GlrecConfig:
    return GlrecConfig(
        shots=24000,
        vocab_size=400,
        model=TransformerConfig(width=64, depth=2, num_heads=2, dropout=0.0),
        train=TrainConfig(
            steps=800, batch_size=32, lr=3e-3, warmup_steps=20, ema_decay=0.99, eval_every=200
        ),
        eval=GlrecEvalConfig(valid_windows=600, test_windows=1500),
    )
