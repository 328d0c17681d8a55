"""OpenP5: the sequential and the straightforward task as text, by a small T5 from scratch.

    jaxrec train configs/openp5.py
    jaxrec eval runs/openp5
    python tools/bench/openp5.py     # one item ID after the other, in one table

One token an item and one a user, six and five wordings, a prefix of a training history or a user
alone; the item with the highest probability among all that the trie of IDs allows.

Cost: 33 TFLOP in products; 24 min on 2 CPU cores that another training shared. Result on the test
items, seed 0, HR@10 / NDCG@10 with seen items removed: sequential .189 [.163, .214] / .099 [.084,
.114] (unseen wording .185 / .099; Markov chain .145 / .076), straightforward .119 [.098, .140] /
.058 [.047, .070] (unseen wording .121 / .058; popularity .087 / .045, item-kNN .108 / .057). With
seen items kept the sequential task has HR@10 .105, the Markov chain .111; in a model of its own, as
in `configs/p5_sequential.py`, it has .119 and .125. The leak rule "highest number plus one" is
right for .2 % of the users. Steps, rows and dropout by validation.
"""

import dataclasses

from jaxrec.systems.p5 import P5Config, of_indexes
from jaxrec.train import TrainConfig


def get_config() -> P5Config:
    return P5Config(
        tasks=("sequential", "straightforward"),
        rows=(128, 64),
        groups=2,
        model=dataclasses.replace(P5Config.model, dropout=0.2),
        train=TrainConfig(steps=8000, batch_size=192, lr=2e-3, ema_decay=0.995, eval_every=1000),
    )


def get_sweep() -> dict[str, P5Config]:
    return of_indexes(get_config())
