"""What instruction tuning shows on made-up tasks: answers to wordings and tasks never trained.

    jaxrec sweep instruct/claims --seeds 1

Rows: "tuned" learns 26 tasks in several wordings; two more, about places in a list, are held out.
"untuned" is the same model before the tuning, after 100 steps on the same data as plain text,
without instructions. "constant answer" gives the most frequent right answer of each task. "tuned,
even mixture" limits every task to 300 examples in an epoch, so that small tasks weigh as much as
large ones.

The goal: in `exact_match_templates`, which is about wordings that were not trained, "tuned" is at
least .20 above "untuned"; in `exact_match_tasks` it is above "constant answer". The first is
reached, the second is not (2026-11-30, seed 0, test, 95 % intervals over instances):

    exact match           trained wordings    unseen wordings     unseen tasks
    tuned                 .602 [.563, .642]   .357 [.318, .394]   .140 [.060, .240]
    tuned, even mixture   .614 [.578, .651]   .291 [.256, .325]   .120 [.040, .220]
    untuned               .013 [.005, .022]   .021 [.010, .032]   .020 [.000, .060]
    constant answer       .230 [.198, .266]   .230 [.198, .266]   .140 [.060, .240]

With 1.1 M parameters and 26 tasks the model learns wordings, and not what an unseen task asks.
Cost: 2 x 800 steps of 23 GFLOP in products; 13.4 CPU minutes.

A first run on 2026-11-30, with 500 steps, two wordings for each datum, no plain text, and other
held-out tasks (`last-films`, `contains-words`), had an exact match of .318 [.289, .347] in unseen
wordings, untuned .000, constant .201. Of the held-out tasks it had .275 in `last-films`, constant
.100, but .350 in `contains-words`, constant .525: it did not learn that yes and no are the only
answers. The tasks that are held out now were chosen after that.
"""

import dataclasses

from jaxrec.models import TransformerConfig
from jaxrec.runs import Sweep
from jaxrec.systems.instruct import (
    InstructConfig,
    InstructDataConfig,
    InstructEvalConfig,
    WritingConfig,
)
from jaxrec.train import TrainConfig


def get_config() -> InstructConfig:
    return InstructConfig(
        data=InstructDataConfig(
            name="made-up tasks", tasks=("toy",), held_out_tasks=("last-films", "second-words")
        ),
        writing=WritingConfig(frame="plain", per_datum=0, max_length=128),
        plain_steps=100,
        model=TransformerConfig(width=128, depth=4, num_heads=4),
        vocab_size=600,
        train=TrainConfig(
            steps=700, batch_size=24, lr=3e-3, warmup_steps=50, weight_decay=0.01, eval_every=350
        ),
        eval=InstructEvalConfig(valid_instances=200, test_instances=25, max_tokens=8),
    )


def get_sweep() -> Sweep:
    tuned = get_config()
    even = dataclasses.replace(tuned, writing=dataclasses.replace(tuned.writing, cap=300))
    return Sweep(
        variants={"tuned": tuned, "tuned, even mixture": even},
        metrics=("exact_match_templates", "exact_match_tasks"),
        all_rows=True,
    )
