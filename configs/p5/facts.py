"""Facts of a catalogue in prompts: what a small T5 says of films it has never described.

    jaxrec train p5/facts
    jaxrec eval runs/p5-facts
"""

from jaxrec.runs import SampledEvalConfig
from jaxrec.systems.p5 import P5Config
from jaxrec.train import TrainConfig


def get_config() -> P5Config:
    return P5Config(
        tasks=("about_facts", "about"),
        rows=(48, 16),
        groups=1,
        text_tokens=1000,
        train=TrainConfig(steps=1000, batch_size=64, lr=2e-3, ema_decay=0.99, eval_every=500),
        eval=SampledEvalConfig(ks=(1, 5, 10), baselines=("popularity", "markov"), valid_users=300),
    )
