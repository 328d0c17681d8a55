"""What a small model gains by writing its reasoning: last letters of names, with and without.

    jaxrec sweep last_letters/claims --seeds 1

The row "chain of thought" is trained on texts that spell the last letter of each name before the
answer, "direct answers" on the same questions with bare answers. Both learn questions of one to
four made-up names. Measured are questions of four names (`accuracy_trained`), of five to eight
(`accuracy_longer`), and 200 published ones of four real names (`accuracy_published`).

The goal: "chain of thought" has at least .95 in `accuracy_trained`, is at least .20 above "direct
answers" in `accuracy_longer`, and is not better than its self-consistency of five samples. The
first two are missed (2026-11-30, seed 0, test, 95 % intervals over 200 questions):

    accuracy            trained             longer              published
    chain of thought    .920 [.885, .955]   .000 [.000, .000]   .570 [.500, .635]
    self-consistency    .910 [.870, .945]   .000 [.000, .000]   .585 [.515, .655]
    direct answers      .000 [.000, .000]   .000 [.000, .000]   .000 [.000, .000]

Direct answers are right in .031 of 64 validation questions of one to four names.

Chain of thought minus self-consistency is .010 [.000, .025] on trained lengths and -.015 [-.055,
.025] on published questions, so neither is shown to be better. On validation questions, which have
one to four names, the accuracy is 1.000.

The model does not learn a step that works for any number of names. In longer questions it copies
names with errors, it mostly answers questions of five names with four letters, and .465 of its
replies do not end. Training probably varies positions and numbers of names too little. Because
`accuracy_longer` is 0, direct answers cannot be .20 worse.

Cost: 0.5 M parameters, 1,200 steps of 7.6 GFLOP in products, 3.8 CPU minutes; 8 CPU minutes for the
measurement, most of them for 3,000 sampled chains.
"""

import dataclasses

from jaxrec.models import TransformerConfig
from jaxrec.nn import RopeScaling
from jaxrec.runs import Sweep
from jaxrec.systems.last_letters import LettersConfig, LettersDataConfig, LettersEvalConfig
from jaxrec.train import TrainConfig


def get_config() -> LettersConfig:
    return LettersConfig(
        data=LettersDataConfig(words=4, longest=8, train_questions=60_000),
        # Local blocks see the order of the last 32 letters. Global ones find by content alone: this
        # scaling makes their rotary angles 0, so they know no distances that could be untrained.
        model=TransformerConfig(
            width=128,
            depth=4,
            num_heads=4,
            mlp_width=128,
            positions="rope",
            rope_scaling=RopeScaling(kind="linear", factor=1e9),
            local_theta=100.0,
            window=32,
            global_every=2,
            qk_norm=True,
            remat="none",
        ),
        train=TrainConfig(
            steps=1600, batch_size=8, lr=3e-3, warmup_steps=50, weight_decay=0.01, eval_every=800
        ),
        eval=LettersEvalConfig(
            valid_instances=64, test_instances=100, samples=5, max_tokens=256, batch_size=100
        ),
    )


def get_sweep() -> Sweep:
    reasoning = get_config()
    return Sweep(
        variants={
            "chain of thought": reasoning,
            "direct answers": dataclasses.replace(reasoning, rationale=False),
        },
        metrics=("accuracy_trained", "accuracy_longer"),
        all_rows=True,
    )
