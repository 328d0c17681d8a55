"""What instructions are worth on MovieLens-100K: intentions, normalization, hard negatives, groups.

jaxrec sweep instructrec/claims --seeds 1
"""

import dataclasses

from jaxrec.runs import Sweep
from jaxrec.systems.instructrec import InstructRecConfig
from jaxrec.train import TrainConfig

# The titles of the second row are written in words, so a prompt is five times as long. It is
# trained on what the ablation of the normalization needs, and on short histories.
ROWS = {"P1-I0-T2": 40, "P1-I2-T2": 16, "P0-I2-T2": 4, "P0-I0-T2": 4}


def get_config() -> InstructRecConfig:
    return InstructRecConfig()


def get_titles() -> InstructRecConfig:
    config = get_config()
    return dataclasses.replace(
        config,
        item_names="titles",
        text_tokens=2500,
        max_items=5,
        tasks=tuple(ROWS),
        rows=tuple(ROWS.values()),
        groups=2,
        train=TrainConfig(
            steps=1200, batch_size=sum(ROWS.values()), lr=2e-3, ema_decay=0.995, eval_every=600
        ),
        eval=dataclasses.replace(config.eval, baselines=(), many=0, hard=()),
    )


def get_sweep() -> Sweep:
    return Sweep(
        variants={"tokens": get_config(), "titles": get_titles()},
        metrics=("hr@1|9", "ndcg@5|9"),
        all_rows=True,
    )
