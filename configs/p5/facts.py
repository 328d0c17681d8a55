"""Facts of a catalogue in prompts: what a small T5 says of films it has never described.

    jaxrec train p5/facts
    jaxrec eval runs/p5-facts

Two tasks: a film is described with its genres and year told in the prompt, and without. A fifth of
the films are kept for the test and a tenth for validation. In training four facts of five are
false, drawn anew for each prompt, because true facts alone are learned by heart and not read.

Cost: about 3 CPU minutes. Result on 2026-11-30 on the test films, seed 0, with 95 % intervals over
films; precision is the share of statements that are true, coverage the share of facts stated:

    prompt                          precision           coverage
    facts shown                     1.00 [1.00, 1.00]   .985 [.977, .992]
    the same, unseen wording        .999 [.997, 1.00]   .949 [.937, .961]
    half of the facts shown false   .475 [.439, .513]   .471 [.435, .508]
    facts not shown                 .261 [.227, .297]   .230 [.199, .262]
    (the commonest facts)           .302 [.265, .341]   .236 [.205, .269]

Without facts the model is not better than the commonest ones: one token for each film tells it
nothing of a film that it has never described.
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
