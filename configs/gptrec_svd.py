"""GPTRec, SVD tokens."""

from jaxrec.models import TransformerConfig
from jaxrec.systems.config import Config, DataConfig, EvalConfig, IdConfig
from jaxrec.train import TrainConfig


def get_config() -> Config:
    return Config(
        max_items=20,
        data=DataConfig(name="ml-100k", min_count=5),
        ids=IdConfig(scheme="svd", levels=4, size=64),
        # GPT-2's flavour, so that the model leaves as one.
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
        eval=EvalConfig(baselines=("popularity", "markov")),
    )
