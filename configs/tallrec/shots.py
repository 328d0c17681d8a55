"""TALLRec (Bao et al., RecSys 2023) with few examples: AUC by the number of examples.

    jaxrec sweep tallrec/shots --seeds 3                 # 16, 64, 256 and all 8,000 examples
    jaxrec sweep tallrec/shots --only 256                # beside the sequential baselines
    jaxrec train tallrec/shots; jaxrec eval runs/tallrec-shots

The model is that of `tallrec/ml100k`, whose run is the row "all". The few examples come with four
random parts of each history, so that something other than the number of liked titles can be
learned. The seed draws the examples and the model's parameters.

Result on the 1,000 test windows, seed 0, AUC over all and within users: with 256 examples .682 /
.599, untuned .460; GRU4Rec .536, Caser .546, SASRec .518, DROS .508. With 64 it learns nothing yet:
.518, untuned .466, the baselines .50 to .54.
"""

import dataclasses

from jaxrec.models import TransformerConfig
from jaxrec.runs import Sweep
from jaxrec.systems.tallrec import TallrecConfig
from jaxrec.train import TrainConfig


def get_config() -> TallrecConfig:
    return TallrecConfig(
        on_prompt=False,
        shots=256,
        parts=4,
        model=TransformerConfig(
            width=64, depth=2, num_heads=2, window=16, global_every=2, dropout=0.2
        ),
        train=TrainConfig(
            steps=200, batch_size=32, lr=3e-3, warmup_steps=20, ema_decay=0.99, eval_every=50
        ),
    )


def get_sweep() -> Sweep:
    few = get_config()
    every = dataclasses.replace(
        few,
        shots=0,
        parts=0,
        title_steps=700,
        train=TrainConfig(steps=400, batch_size=64, lr=3e-3, ema_decay=0.99, eval_every=100),
    )
    variants = {str(shots): dataclasses.replace(few, shots=shots) for shots in (16, 64, 256)}
    return Sweep(
        variants=variants | {"all": every},
        against="all",
        metrics=("auc", "within_user_auc"),
        all_rows=True,
    )
