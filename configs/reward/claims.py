"""What a reward model learns from pairs and from the best of four, on simulated rankings.

    jaxrec sweep reward/claims

The rows `pairs` and `best` learn from the same rankings: all six pairs of a prompt, or only its
best answer. `centered` adds the centring term. The goal: `accuracy` of `pairs` is within 2 points
of that of the planted utility, and `best` is not above `pairs`. Not measured yet. Cost: about 12
minutes on 2 CPU cores.
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
