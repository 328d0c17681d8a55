"""What demonstrations a small model learns from: near or random, few or many, useful or not.

jaxrec sweep in_context/claims --seeds 5
"""

from jaxrec.runs import Sweep
from jaxrec.systems.in_context import InContextConfig, InContextDataConfig


def get_config() -> InContextConfig:
    return InContextConfig(data=InContextDataConfig(seed=1))


def get_sweep() -> Sweep:
    return Sweep(
        variants={"nearest neighbours": get_config()},
        metrics=("accuracy",),
        all_rows=True,
    )
