"""Facts of a catalogue in prompts: what a small T5 says of films it has never described.

    jaxrec train p5/facts
    jaxrec eval runs/p5-facts

Two tasks: a film is described with its genres and year told in the prompt, and without. A fifth of
the films are kept for the test and a tenth for validation. In training four facts of five are
false, drawn anew for each prompt, because true facts alone are learned by heart and not read.

Cost: about 3 CPU minutes. Validation on 2026-11-30 after 1,000 steps, seed 0: with facts in
the prompt, all statements about unseen films are true, and 99.2 % of the facts are stated. The test
is not measured. On 300 made-up films, 10 % of them with a title that names another genre
(`tests/systems/p5/test_factual.py`), the share of statements about unseen films that are true is
1.00 in the validation with facts in the prompt, and was .45 when training told true facts alone;
the test holds it to at least .95 with facts, at most .80 without, and at most .65 where half of
the facts shown are false.
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
