"""A small model that learns to read demonstrations, and what their selection is worth.

    jaxrec train in_context/pairs
    jaxrec eval runs/in_context-pairs

The model of 0.1 M parameters is trained on texts of nine examples, each of a random function of its
own. `prompting/claims` trains it with several seeds and has the figures. Cost: 1 CPU minute.
"""

from jaxrec.systems.in_context import InContextConfig, InContextDataConfig


def get_config() -> InContextConfig:
    return InContextConfig(data=InContextDataConfig(seed=1))
