"""What a reward model learns from pairs and from the best of four, on simulated rankings.

    jaxrec sweep reward/claims --seeds 1

The rows `pairs` and `best` learn from the same rankings: all six pairs of a prompt, or only its
best answer. `centered` adds the centring term. The goal: `accuracy` of `pairs` is within 2 points
of that of the planted utility, and `best` is not above `pairs`.

Result on 2026-11-30, seed 0, on 2,392 test prompts with 14,352 pairs, intervals over prompts:

    row               loss                 accuracy             best_accuracy        minus pairs
    pairs             .354 [.344, .365]    .841 [.835, .848]    .709 [.691, .727]
    best              .750 [.719, .782]    .840 [.833, .847]    .711 [.692, .729]    -.001, p .67
    centered          .412 [.404, .420]    .842 [.835, .849]    .710 [.691, .729]    +.001, p .67
    planted utility   .351 [.340, .362]    .843 [.836, .849]    .712 [.694, .731]

Both goals are met: `pairs` is .1 points below the planted utility, and the rows do not differ. The
losses of the rows are not comparable, because each has a loss of its own. With 8,413 prompts the
best answer alone says enough about a utility of 40 words. The last row is that of `jaxrec eval` on
the run of `pairs`. Cost: 1.5 CPU minutes.
"""

import dataclasses

from jaxrec.runs import Sweep
from jaxrec.systems.reward import RewardModelConfig


def get_config() -> RewardModelConfig:
    return RewardModelConfig()


def get_sweep() -> Sweep:
    config = get_config()
    return Sweep(
        variants={
            "pairs": config,
            "best": dataclasses.replace(config, learn="best"),
            "centered": dataclasses.replace(config, centering=0.01),
        },
        metrics=("accuracy",),
    )
