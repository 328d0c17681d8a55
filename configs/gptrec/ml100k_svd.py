"""GPTRec (Petrov and Macdonald 2023, arXiv:2306.11114) with four SVD tokens of 64 values an item.

    jaxrec train gptrec/ml100k_svd

MovieLens-100K; the model is that of `gptrec/ml100k`, but twice as wide, because 256 rows of tokens
take fewer parameters than 1,349.

Cost: 42 min on 2 CPU cores that another training shared. Result on the test
items, HR@10 / NDCG@10: seed 0 .189 [.165, .213] / .100 [.085, .115], seed 1 .173 [.150, .198] /
.094 [.079, .110]: 101 and 89 % of the NDCG of one token an item with the same seed; Markov chain
.145 / .076. At width 64 it was .157 / .077 and .147 / .076; one token an item gains nothing on
validation from the greater width (NDCG@10 .120, seed 0; at width 64 .123, seed 2).
"""

from jaxrec.data import DataConfig
from jaxrec.items import IdConfig
from jaxrec.models import TransformerConfig
from jaxrec.systems.generative import Config, EvalConfig
from jaxrec.train import TrainConfig


def get_config() -> Config:
    return Config(
        max_items=20,
        data=DataConfig(name="ml-100k", min_count=5),
        ids=IdConfig(scheme="svd", levels=4, size=64),
        # GPT-2's flavour, so that the model can be exported as one.
        model=TransformerConfig(
            width=128,
            depth=3,
            num_heads=4,
            norm="layer",
            norm_eps=1e-5,
            positions="learned",
            activation="gelu_tanh",
            gated=False,
            qkv_bias=True,
            out_bias=True,
            mlp_bias=True,
            dropout=0.2,
        ),
        train=TrainConfig(steps=4000, batch_size=64, lr=1e-3, ema_decay=0.999, eval_every=500),
        eval=EvalConfig(baselines=("popularity", "markov")),
    )
