"""All tables of P5: the seven tasks from one checkpoint, and facts in prompts.

    jaxrec sweep p5/claims --seeds 1

The variants are the configs `p5/seven` and `p5/facts`, and a row of the JSON line is a row of one
of their tables.
"""

from jaxrec.cli.configs import find_config
from jaxrec.cli.loading import load_config_file
from jaxrec.runs import Sweep


def get_sweep() -> Sweep:
    variants = {name: load_config_file(find_config(f"p5/{name}")) for name in ("seven", "facts")}
    return Sweep(variants=variants, all_rows=True)
