r"""A reward model of pairs, on simulated rankings whose best possible accuracy is known.

    jaxrec train align/reward
    jaxrec eval runs/align-reward

The simulation ranks four answers to each prompt by a utility that is linear in the words, with the
noise of Bradley and Terry. The row `planted utility` of the evaluation is the best accuracy that
any model can have. Own feedback takes the place of the simulation, and an existing text model that
of the one from scratch:

    jaxrec train align/reward --data.name mine --data.paths feedback.jsonl \
        --tune.base runs/pretrain-lm --run-dir runs/mine

A fifth of the prompts trains a second model, which stands for the true preference.

Result on 2026-11-30, seed 0, on 2,327 test prompts with 13,962 pairs, intervals over prompts:

    row               loss                 accuracy             best_accuracy
    model             .367 [.355, .378]    .830 [.823, .838]    .682 [.664, .700]
    gold              .369 [.357, .380]    .830 [.822, .837]    .678 [.659, .698]
    longer answer                          .500                 .250
    planted utility   .362 [.350, .374]    .832 [.825, .839]    .688 [.669, .707]

The model orders the pairs nearly as well as any model can: .2 points below the planted utility. Its
calibration error is .005, and the gold model orders 96.4 % of the pairs alike. Cost: 40 CPU seconds
for both models and the evaluation.
"""

from jaxrec.systems.reward import FeedbackConfig, RewardModelConfig


def get_config() -> RewardModelConfig:
    return RewardModelConfig(data=FeedbackConfig(name="planted", gold=0.2))
