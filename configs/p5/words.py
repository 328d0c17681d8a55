"""P5's own way of writing items, numbers that the tokenizer cuts, with whole-word embeddings.

    jaxrec train p5/words
    jaxrec train p5/words --model.word-rows 0 --run-dir runs/p5-no-words
    jaxrec eval runs/p5-words; jaxrec eval runs/p5-no-words
    jaxrec compare runs/p5-words runs/p5-no-words

The second run is the ablation. Numbers are random, so items with near numbers are not related.

Cost: 2 to 4 min a run on 2 cores that another training shared. Result on the test items, seed 0,
HR@10 / NDCG@10: with whole-word embeddings .088 / .045, without .084 / .044, a difference of -.001
[-.005, +.004] in NDCG@10. Neither run, so short, goes beyond popularity's .087 / .045: it shows
that both work, not what the embeddings are worth.
"""

from jaxrec.items import IdConfig
from jaxrec.runs import SampledEvalConfig
from jaxrec.systems.p5 import P5Config
from jaxrec.train import TrainConfig


def get_config() -> P5Config:
    return P5Config(
        max_items=8,
        tasks=("sequential",),
        rows=(64,),
        groups=1,
        item_names="numbers",
        text_tokens=1000,
        ids=IdConfig(scheme="random", levels=2, size=95),
        train=TrainConfig(steps=1500, batch_size=64, lr=2e-3, ema_decay=0.995, eval_every=750),
        eval=SampledEvalConfig(baselines=("popularity", "markov"), valid_users=300),
    )
