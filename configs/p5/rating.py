"""P5's rating family alone: how many stars a user gives an item, as text, on MovieLens-100K.

    jaxrec train p5/rating
    jaxrec eval runs/p5-rating

Ratings are split at random, 80, 10 and 10 %, as published. Ratings of items that are held out for
the sequential task are left out of training.

Cost: 9 min on 2 CPU cores that another training shared; 13 TFLOP in products. Result on the test
ratings, seed 0, RMSE / MAE: .946 / .742 by the mean over all ratings a model can write, 1.127 /
.797 by greedy text, all of which are ratings; unseen wording .949 / .741. Item mean 1.024 / .817,
user and item biases .948 / .748.
"""

from jaxrec.systems.p5 import P5Config
from jaxrec.train import TrainConfig


def get_config() -> P5Config:
    return P5Config(
        tasks=("rating",),
        rows=(128,),
        groups=1,
        text_tokens=2400,
        train=TrainConfig(steps=3000, batch_size=128, lr=2e-3, ema_decay=0.995, eval_every=500),
    )
