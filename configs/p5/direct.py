"""P5's direct family alone: an item for a user, out of the catalogue or out of a hundred.

    jaxrec train p5/direct
    jaxrec eval runs/p5-direct

No prompt shows a history: the user's token is all that the model knows of a user.

Cost: 13 min on 2 CPU cores that another training shared. Result on the test items, seed 0, HR@10 /
NDCG@10: one of a hundred .475 [.443, .507] / .262 (unseen wording .483 / .266; popularity .369 /
.204), with the candidates left out of the prompt as good; out of the catalogue .090 / .043
(popularity .087 / .045, item-kNN .108 / .057). Beside the sequential task, as in `p5/openp5`, the
latter has .119 / .058.
"""

from jaxrec.runs import SampledEvalConfig
from jaxrec.systems.p5 import P5Config
from jaxrec.train import TrainConfig


def get_config() -> P5Config:
    return P5Config(
        tasks=("straightforward", "direct_choose"),
        rows=(96, 32),
        groups=2,
        train=TrainConfig(steps=4000, batch_size=128, lr=2e-3, ema_decay=0.995, eval_every=1000),
        eval=SampledEvalConfig(ks=(1, 5, 10), baselines=("popularity", "item_knn")),
    )
