"""P5's sequential family alone, on MovieLens-100K: what comes next, out of the whole catalogue.

    jaxrec train p5/sequential
    jaxrec eval runs/p5-sequential
    jaxrec sweep p5/sequential     # with other item IDs

A prompt shows 20 items, omits the user and asks for one of the user's 50 most recent items. With
all training items as targets the same validation takes three times as many steps; with users named,
more items that they have seen are recommended again.

Cost: 26 TFLOP in products; 9 min on 2 CPU cores. Result on the test items, HR@10 / NDCG@10, seeds
0 and 1: with seen items kept .119 / .058 and .125 / .057 (unseen wording .117 / .054 and .128 /
.058; Markov chain .111 / .056), removed .185 / .096 and .193 / .098 (unseen wording .185 / .096 and
.187 / .095; Markov chain .145 / .076). Settings by validation. The same with other item IDs, seed
0, in about an hour beside other work: collaborative ones that end in a token of the item's own
(cid+iid) .122 [.102, .142] / .058 kept and .191 [.168, .216] / .099 removed; random codes .062
[.047, .078] / .029 and .103 [.084, .123] / .049.
"""

import dataclasses

from jaxrec.runs import Sweep
from jaxrec.systems.p5 import P5Config, of_indexes
from jaxrec.train import TrainConfig


def get_config() -> P5Config:
    return P5Config(
        max_targets=50,
        history_users=False,
        tasks=("sequential",),
        rows=(256,),
        groups=1,
        model=dataclasses.replace(P5Config.model, embedding_scale=1.0, dropout=0.2),
        train=TrainConfig(steps=4000, batch_size=256, lr=2e-3, ema_decay=0.998, eval_every=500),
    )


def get_sweep() -> Sweep:
    return Sweep(variants=of_indexes(get_config()), all_rows=True)
