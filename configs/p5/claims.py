"""All tables of P5: the seven tasks from one checkpoint, and facts in prompts.

    jaxrec sweep p5/claims --seeds 1

The variants are the configs `p5/seven` and `p5/facts`, and a row of the JSON line is a row of one
of their tables.
"""

from jaxrec.cli.configs import find_config
from jaxrec.cli.loading import load_config_file
from jaxrec.runs import Sweep
from jaxrec.systems.p5 import P5Config


def get_config() -> P5Config:
    """The seven tasks from one checkpoint."""
    return load_config_file(find_config("p5/seven"))


def get_sweep() -> Sweep:
    return Sweep(
        variants={"seven": get_config(), "facts": load_config_file(find_config("p5/facts"))},
        all_rows=True,
    )
