"""GLRec's claims (Wu et al., AAAI 2024) on MovieLens-100K as a stand-in for candidates and jobs.

jaxrec sweep glrec/claims --seeds 1
"""

import dataclasses

from jaxrec.models import TransformerConfig
from jaxrec.runs import Sweep
from jaxrec.systems.glrec import GlrecConfig, GlrecEvalConfig, PathsConfig
from jaxrec.train import TrainConfig


def get_config() -> GlrecConfig:
    """The row "ranked"."""
    return GlrecConfig(
        shots=12000,
        order="ranked",
        vocab_size=400,
        model=TransformerConfig(width=64, depth=2, num_heads=2, dropout=0.1),
        train=TrainConfig(
            steps=600, batch_size=32, lr=3e-3, warmup_steps=20, ema_decay=0.99, eval_every=100
        ),
        eval=GlrecEvalConfig(valid_windows=1000, test_windows=1500),
    )


def get_sweep() -> Sweep:
    ranked = get_config()
    orders = ("ranked", "shuffle", "hybrid", "selector")
    variants = {name: dataclasses.replace(ranked, order=name) for name in orders}
    none = dataclasses.replace(ranked, paths=PathsConfig(count=0))
    planted = dataclasses.replace(ranked, order="hybrid", paths=PathsConfig(planted=True))
    return Sweep(
        variants={"no paths": none} | variants | {"planted": planted},
        against="ranked",
        metrics=("auc", "within_user_auc", "order_std"),
        all_rows=True,
    )
