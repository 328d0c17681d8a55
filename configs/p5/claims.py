"""All tables of P5: the seven tasks from one checkpoint, and facts in prompts.

    jaxrec sweep p5/claims --seeds 1

The variants are the configs `p5/seven` and `p5/facts`, and a row of the JSON line is a row of one
of their tables. What they should show: no answer of a search over the trie is made up, with any
task; one of 20 candidates is found more often than by popularity; Recall@10 of conversations rises
with the turns; statements about unseen films are true in at least 95 % with facts in the prompt, in
at most 80 % without, and in fewer where half of the facts shown are false.

Cost: 10 CPU minutes of training and about as long for the tables. The facts claims
hold (2026-11-30, seed 0; see `p5/facts`). The seven tasks are not measured on the test yet.
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
