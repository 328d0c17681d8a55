"""TALLRec's questions (Bao et al., RecSys 2023), answered by a small decoder from scratch.

    jaxrec train configs/tallrec.py
    jaxrec eval runs/tallrec
    python tools/bench/shots.py --shots 16 64 256        # few examples

All 8,000 windows of the published movie split, the loss of the answers alone; every title is one
token. Trained first on questions without a history, or it counts the liked titles and reads none;
blocks that see 16 tokens find the title asked about sooner. Settings by validation.

Cost: 15 TFLOP in products; 10 min on 2 CPU cores that other programs shared. Result on the 1,000
test windows, seeds 0, 1 and 2: AUC .725 [.673, .776], .733 and .734 over all, .708 [.656, .759],
.712 and .716 within users; untuned .471, .495 and .474. The number of liked titles alone has .726 /
.601, the item's share of likes .677 / .711, and both together .745 / .718.

With 256 examples, seed 0: .682 / .599, untuned .460; GRU4Rec .536, Caser .546, SASRec .518, DROS
.508. With 64 it learns nothing yet: .518, untuned .466, the baselines .50 to .54.
"""

import dataclasses

from jaxrec.models import TransformerConfig
from jaxrec.systems.tallrec import TallrecConfig
from jaxrec.train import TrainConfig


def get_config() -> TallrecConfig:
    return TallrecConfig(
        on_prompt=False,
        title_steps=700,
        model=TransformerConfig(
            width=64, depth=2, num_heads=2, window=16, global_every=2, dropout=0.2
        ),
        train=TrainConfig(steps=400, batch_size=64, lr=3e-3, ema_decay=0.99, eval_every=100),
    )


def get_sweep() -> dict[str, TallrecConfig]:
    """Few examples, with parts of their histories beside them, and all."""
    few = dataclasses.replace(
        get_config(),
        title_steps=0,
        parts=4,
        train=TrainConfig(
            steps=200, batch_size=32, lr=3e-3, warmup_steps=20, ema_decay=0.99, eval_every=50
        ),
    )
    sweep = {str(shots): dataclasses.replace(few, shots=shots) for shots in (16, 64, 256)}
    return sweep | {"all": get_config()}
