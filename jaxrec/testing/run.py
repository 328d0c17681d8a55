"""The smallest model and run that have every part: two levels, two heads, all baselines."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxrec.baselines import SasrecConfig
from jaxrec.data import DataConfig
from jaxrec.items import IdConfig
from jaxrec.models import CausalLM, EncoderDecoder, TransformerConfig, init_function
from jaxrec.systems.generative import Config, DecodeConfig, EvalConfig
from jaxrec.testing.data import write_tiny_csv
from jaxrec.train import TrainConfig


def tiny_model(vocab_size: int = 18, depth: int = 1) -> TransformerConfig:
    """Return the config of a Llama-style model of width 16.

    Example:
      >>> tiny_model(vocab_size=30).width
      16
    """
    return TransformerConfig(
        vocab_size=vocab_size, width=16, depth=depth, num_heads=2, mlp_width=32, max_length=64
    )


def random_params(model: CausalLM | EncoderDecoder, seed: int = 0, scale: float = 0.4) -> Any:
    """Draw all parameters at random; zero biases and unit scales would hide missing terms."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda s: jnp.asarray(scale * rng.normal(size=s.shape), s.dtype), _shapes(model)
    )


@functools.lru_cache(maxsize=64)
def _shapes(model: CausalLM | EncoderDecoder) -> Any:
    """Trace `init` once a model; tests of one file often share the model."""
    return nn.meta.unbox(jax.eval_shape(init_function(model), jax.random.key(0)))


def tiny_config(path: str | Path) -> Config:
    """Return the config of a run that trains and evaluates within seconds.

    Args:
      path: the `interactions.csv` that `write_tiny_csv` wrote.

    Example:
      >>> config = tiny_config("interactions.csv")
      >>> config.data.user_column, config.ids.levels, config.train.steps
      ('user_id', 2, 20)
    """
    path = Path(path)
    train = TrainConfig(
        steps=20, batch_size=16, lr=1e-2, warmup_steps=2, eval_every=10, log_every=5
    )
    return Config(
        max_items=8,
        data=DataConfig(
            name="tiny",
            from_file=str(path),
            user_column="user_id",
            item_column="movie_id",
            time_column="when",
            rating_column="stars",
            item_table=str(path.with_name("items.csv")),
            item_id_column="movie_id",
            min_count=0,
        ),
        ids=IdConfig(levels=2, size=8, dim=8, text_encoder="tfidf"),
        model=tiny_model(),
        train=train,
        decode=DecodeConfig(beams=10, batch_size=16),
        # Quick even if libraries for text encoders are installed.
        eval=EvalConfig(resamples=100, samples=2, text_encoders=False),
        sasrec=SasrecConfig(width=16, depth=1, max_items=8, dropout=0.1, train=train),
    )


def write_tiny_run(directory: Path) -> Path:
    """Write the tiny data and a config file for them; return the path of the config file."""
    data, path = write_tiny_csv(directory), directory / "tiny.py"
    path.write_text(
        "from jaxrec.testing import tiny_config\n\n\n"
        f"def get_config():\n    return tiny_config({str(data)!r})\n"
    )
    return path


def tiny_options(path: str | Path) -> list[str]:
    """Return the `--data.*` command-line options that make any config read the tiny data."""
    data = tiny_config(path).data
    words: list[str] = []
    for field in dataclasses.fields(data):
        value = getattr(data, field.name)
        if value != field.default:
            words += ["--data." + field.name.replace("_", "-"), str(value)]
    return words
