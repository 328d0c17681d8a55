"""CLAIMS"""

import dataclasses

from jaxrec.runs import Sweep
from jaxrec.systems.chatgpt import (
    ChatGptConfig,
    ChatGptEvalConfig,
    GroundingConfig,
    PlantedConfig,
)
from jaxrec.texts import AskedModelConfig, RepairOptions

SMALL = ("rating", "sequential", "sequential_choose", "sequential_yesno", "explanation", "summary")


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
        repair=RepairOptions(rounds=1),
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
            "smollm2_facts": dataclasses.replace(real, tasks=("explanation",), facts=True),
        },
        metrics=(),
        all_rows=True,
    )
