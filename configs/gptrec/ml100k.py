"""GPTRec (Petrov and Macdonald 2023, arXiv:2306.11114) with one token an item, on MovieLens-100K.

    jaxrec train gptrec/ml100k
    python tools/bench lists runs/gptrec-ml100k

The model is a decoder of GPT-2's flavour. `decode.strategy` chooses how a list is generated:
"beam" is the paper's Top-K by an exact search, "sample" its Top-K by sampling, and "next_k"
generates one item after the other.

Cost: 2 to 10 min on 2 CPU cores, by what shares them. Result on the test items, the first
settings tried, HR@10 / NDCG@10: seed 0 .186 [.160, .210] / .098 [.083, .113], seed 1 .199 [.175,
.226] / .106 [.091, .122]; SASRec's .181 / .095 and the Markov chain's .145 / .076 are the
quickstart's. By sampling, seed 0, .122 / .061 with the published sum of log-probabilities and .179
/ .093 with that of probabilities, 2.7 % of the places of the lists unfilled. By Next-K, which reads
10 items of a history and not 19, .136 / .081; the beam search on those 10 gives .195 / .103.
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
        ids=IdConfig(scheme="independent"),
        # GPT-2's flavour, so that the model can be exported as one.
        model=TransformerConfig(
            width=64,
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
        train=TrainConfig(steps=1500, batch_size=64, lr=2e-3, ema_decay=0.995, eval_every=250),
        eval=EvalConfig(baselines=("popularity", "markov", "cooccurrence", "sasrec")),
    )
