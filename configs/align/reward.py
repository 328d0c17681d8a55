r"""A reward model of pairs, on simulated rankings whose best possible accuracy is known.

    jaxrec train align/reward
    jaxrec eval runs/align-reward

The simulation ranks four answers to each prompt by a utility that is linear in the words, with the
noise of Bradley and Terry. The row `planted utility` of the evaluation is the best accuracy that
any model can have. Own feedback takes the place of the simulation, and an existing text model that
of the one from scratch:

    jaxrec train align/reward --data.name mine --data.paths feedback.jsonl \
        --tune.base runs/pretrain-lm --run-dir runs/mine

A fifth of the prompts trains a second model, which stands for the true preference. Cost: about 5
minutes on 2 CPU cores. Not measured yet.
"""

from jaxrec.systems.reward import FeedbackConfig, RewardModelConfig


def get_config() -> RewardModelConfig:
    return RewardModelConfig(data=FeedbackConfig(name="planted", gold=0.2))
