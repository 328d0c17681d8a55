"""TALLRec's questions (Bao et al., RecSys 2023), answered by a small decoder from scratch.

    jaxrec train configs/tallrec.py
    jaxrec eval runs/tallrec --no-baselines

All 8,000 windows of the published movie split, the loss of the answers alone; every title is one
token. Settings by validation AUC, two runs of this kind: with the loss of the prompts too it was
.675 after 300 steps, here .698.

Cost: 600 steps of 64 questions, 10 TFLOP in products; 4 min of CPU. Result on the 1,000 test
windows, seed 0: AUC .728 [.649, .793] over all and .598 [.509, .663] within users; untuned .543.
That is the number of liked titles, .726 and .601: the model counts them and learns little of the
titles. The item's share of likes and that number together give .745 and .718.
"""

from jaxrec.models import TransformerConfig
from jaxrec.systems.tallrec_config import TallrecConfig
from jaxrec.train import TrainConfig


def get_config() -> TallrecConfig:
    return TallrecConfig(
        on_prompt=False,
        model=TransformerConfig(width=64, depth=2, num_heads=2, dropout=0.2),
        train=TrainConfig(
            steps=600, batch_size=64, lr=2e-3, ema_decay=0.99, eval_every=100, patience=4
        ),
    )
