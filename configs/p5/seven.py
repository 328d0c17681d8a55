"""The seven tasks of generative recommendation by one small T5 from scratch, on MovieLens-100K.

    jaxrec train p5/seven
    jaxrec eval runs/p5-seven
"""

from jaxrec.runs import SampledEvalConfig
from jaxrec.systems.p5 import P5Config
from jaxrec.train import TrainConfig

ROWS = {
    "rating": 24,
    "rating_yesno": 4,
    "rating_like": 8,
    "straightforward": 8,
    "direct_choose": 12,
    "direct_yesno": 8,
    "sequential": 48,
    "explanation": 4,
    "review": 4,
    "review_title": 4,
    "conversation": 20,
}


def get_config() -> P5Config:
    return P5Config(
        max_targets=50,
        history_users=False,
        tasks=tuple(ROWS),
        rows=tuple(ROWS.values()),
        candidates=20,
        groups=3,
        train=TrainConfig(steps=1600, batch_size=144, lr=2e-3, ema_decay=0.995, eval_every=800),
        eval=SampledEvalConfig(ks=(1, 5, 10), baselines=("popularity", "markov"), valid_users=300),
    )
