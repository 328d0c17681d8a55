"""What the study of an asked model finds: planted faults, and a small language model.

    jaxrec sweep chatgpt/claims --only neutral position half_position malformed stubborn misspelled
    jaxrec sweep chatgpt/claims

Scripts stand in place of a language model, so it is known what has to be found. "neutral" ranks by
popularity, "position" lists candidates in the order of the prompt, and "half_position" does so for
half of the users. "malformed" breaks the format in .6 of its answers, half of them in a way that
only a further question repairs; "stubborn" never obeys. Of the titles of "misspelled" .3 have a
typing error and .1 are made up.

The goals: the probe finds the planted slope and none in "neutral", and the repair loop ends at
100 % legal answers. Both are reached (2026-11-30, MovieLens-100K, test, 100 users and rows a task,
95 % intervals over users or questions):

    slope of NDCG@10 from the first of 100 slots to the last    first slot    last slot
    neutral           .000 [ .000,  .000]                       .226          .226
    position         -.805 [-.805, -.805]                      1.000          .000
    half_position    -.346 [-.427, -.266]                       .545          .115

A list in the order of the prompt has NDCG@10 1, 0, 0, 0, 0 with the truth in slots 0, 25, 50, 74
and 99, whose line has the slope -.805. In "half_position" 43 of 100 users have the fault.

    legal answers    before              after the rules     at the end             questions more
    malformed        .378 [.346, .411]   .688 [.652, .719]   1.000 [1.000, 1.000]   .465 a prompt
    stubborn         .000                .000                 .000                  2.000

"malformed" has the metrics of "neutral" after its repair, and "stubborn" has the RMSE of the mean
rating, 1.112, which stands in for a rating that cannot be read. Of the titles of "misspelled" .633
are found by their string, .214 by their vector, and .153 count as hallucinations: those that are
made up, and some of those with an error. Errors in articles and punctuation change no title.

"smollm2" is SmolLM2-135M-Instruct without demonstrations, asked in its chat template about 12
ratings and 12 users, without further questions; its weights are `models/smollm2.gguf`. Beside it
are the baselines on the same questions:

    rating                RMSE                    next film    HR@10
    smollm2               2.005 [1.357, 2.625]    smollm2      .000 [.000, .000]
    mean rating           1.196 [ .758, 1.612]    popularity   .167 [.000, .417]
    item mean             1.094 [ .623, 1.480]    item_knn     .083 [.000, .250]
    user and item bias    1.052 [ .674, 1.411]    markov       .333 [.083, .583]

It knows the format better than the task. Of its 24 answers .750 [.583, .917] are legal, and .792
[.625, .917] after the rules. It gives 1 star in every legal rating; the others count as the mean.
Of the titles that it lists .905 are films of the prompt's own history, which are no recommendation,
and .095 are made up. Twelve users tell no more than that. The chat template was chosen on
validation ratings and summaries. One answer here, "The Silence of the Lambs (1", showed that a rule
took a year that is cut short for a rating; without that correction the RMSE is 2.275.

The other tasks of `chatgpt/ml100k` were asked with the same settings, 12 questions each (24 of yes
or no). It answers every yes-or-no question alike (AUC .500). Of its lists of a hundred candidates
.333 are legal in `sequential_choose` and .583 in `direct`, and none has the target among its first
ten (popularity .333 and .250, Markov chain .500 and .333). Its explanations have ROUGE-L .054
[.000, .102] with the synthetic ones, below the hint alone (.200), and its summaries .027 [.008,
.055], below the beginning of the review (.228).
One demonstration (`--shots 1`) leaves no rating legal, and .917 of the lists of titles, none with
the target; .071 of their titles are made up, and .643 are of the prompt's own history.

Cost: 1.5 CPU minutes for the scripts, 3 CPU minutes for 24 questions to "smollm2", most of them
compilation, and 20 CPU minutes for its other five tasks, 14 of them for lists of a hundred.
"""

import dataclasses

from jaxrec.runs import Sweep
from jaxrec.systems.chatgpt import (
    ChatGptConfig,
    ChatGptEvalConfig,
    GroundingConfig,
    PlantedConfig,
)
from jaxrec.texts import AskedModelConfig, RepairOptions

SMALL = ("rating", "sequential")


def get_config() -> ChatGptConfig:
    return ChatGptConfig(
        # Nine titles of MovieLens belong to two items each.
        grounding=GroundingConfig(duplicates="mark"),
        planted=PlantedConfig(script="neutral"),
        eval=ChatGptEvalConfig(test_instances=100, probe_slots=5),
    )


def get_sweep() -> Sweep:
    neutral = get_config()
    probed = dataclasses.replace(neutral, tasks=("sequential_choose",))
    unprobed = dataclasses.replace(neutral, eval=dataclasses.replace(neutral.eval, probe_slots=0))
    real = dataclasses.replace(
        unprobed,
        tasks=SMALL,
        planted=PlantedConfig(),
        asked=AskedModelConfig(
            path="models/smollm2.gguf", name="SmolLM2-135M", chat=True, batch_size=12
        ),
        repair=RepairOptions(rounds=0),
        eval=dataclasses.replace(unprobed.eval, test_instances=12),
    )

    def planted(config: ChatGptConfig, script: PlantedConfig) -> ChatGptConfig:
        return dataclasses.replace(config, planted=script)

    return Sweep(
        variants={
            "neutral": neutral,
            "position": planted(probed, PlantedConfig(script="position")),
            "half_position": planted(probed, PlantedConfig(script="position", share=0.5)),
            "malformed": planted(unprobed, PlantedConfig(script="malformed", share=0.6)),
            "stubborn": planted(unprobed, PlantedConfig(script="stubborn")),
            "misspelled": planted(
                dataclasses.replace(unprobed, tasks=("sequential",)),
                PlantedConfig(script="misspelled", share=0.4),
            ),
            "smollm2": real,
        },
        metrics=(),
        all_rows=True,
    )
