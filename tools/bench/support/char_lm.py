"""The language model of the quantization table: 816,256 parameters, trained here in minutes.

Its symbols are the characters of GSM8K's problems and solutions (Cobbe et al. 2021): printable
ASCII and the line break, 96 in all. The last problems of the file are held out: nothing is trained
or calibrated on them.
"""

import dataclasses
import gzip
import json
import os
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import MeshConfig, ProgressBar, ShardingRules, make_mesh
from jaxrec.models import CausalLM, ModelSpec, Pretrained, TransformerConfig, load_model, save_model
from jaxrec.nn import SelfContext, attention_mask, positions_of
from jaxrec.objectives import Loss
from jaxrec.train import TrainConfig, make_optimizer, make_state, make_step

LENGTH = 128
SPEC = ModelSpec(
    "causal",
    TransformerConfig(
        vocab_size=96,
        width=128,
        depth=4,
        num_heads=4,
        mlp_width=512,
        gated=False,
        activation="gelu",
        positions="learned",
        max_length=LENGTH,
    ),
)
TRAIN = TrainConfig(
    steps=700, batch_size=20, lr=3e-3, warmup_steps=50, weight_decay=0.1, beta2=0.98, log_every=100
)
HELD_OUT = 473  # problems


def data_dir() -> Path:
    """The directory of GSM8K, below JAXREC_DATA or else `shared/data` beside the project."""
    beside = Path(__file__).parents[4] / "shared" / "data"
    path = Path(os.environ.get("JAXREC_DATA") or beside) / "gsm8k"
    if not path.is_dir():
        raise SystemExit(f"GSM8K is not in {path}; set JAXREC_DATA to the folder that holds gsm8k/")
    return path


def read_text() -> tuple[np.ndarray, np.ndarray]:
    """Read the training text and the held-out text, as int32 symbols in [0, 96)."""
    lines = gzip.decompress((data_dir() / "train.jsonl.gz").read_bytes()).splitlines()
    problems = [f"{p['question']}\n{p['answer']}\n\n" for p in map(json.loads, lines)]
    return encode("".join(problems[:-HELD_OUT])), encode("".join(problems[-HELD_OUT:]))


def encode(text: str) -> np.ndarray:
    """Encode a text: the line break is 0 and the space 1; characters outside ASCII are dropped."""
    codes = np.frombuffer(text.encode("ascii", "ignore"), np.uint8).astype(np.int32)
    codes = codes[(codes == 10) | ((codes >= 32) & (codes < 127))]
    return np.where(codes == 10, 0, codes - 31).astype(np.int32)


def windows(text: np.ndarray, count: int) -> np.ndarray:
    """`count` windows of 128 symbols and the symbol after them, evenly spread: `[count, 129]`."""
    starts = np.linspace(0, len(text) - LENGTH - 1, count).astype(int)
    return np.stack([text[start : start + LENGTH + 1] for start in starts])


def loss(variables: Any, tokens: jax.Array, key: jax.Array | None = None) -> Loss:
    """Next-symbol cross-entropy of `[B, 129]` windows, summed over symbols, in nats."""
    del key  # no dropout
    model = CausalLM(SPEC.config)
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    valid = jnp.ones(inputs.shape, bool)
    context = SelfContext(attention_mask(valid), causal=True)
    hidden, _ = model.apply(variables, inputs, positions_of(valid), context, method="hidden")
    weights = jnp.ones(targets.shape, jnp.float32)
    total = model.apply(variables, hidden, targets, weights, method="loss")
    return Loss(total, weights.sum(), {})


@jax.jit
def _total(variables: Any, tokens: jax.Array) -> jax.Array:
    return loss(variables, tokens).total


def perplexity(variables: Any, held_out: np.ndarray, batch: int = 50) -> float:
    """The exponential of the mean cross-entropy a symbol, over `[W, 129]` windows."""
    parts = [
        float(_total(variables, jnp.asarray(held_out[at : at + batch])))
        for at in range(0, len(held_out), batch)
    ]
    return float(np.exp(sum(parts) / (len(held_out) * LENGTH)))


def train(text: np.ndarray, config: TrainConfig = TRAIN, start: Any = None) -> Any:
    """Train on windows that start anywhere in the text, and return the variables.

    With `start`, training continues from these variables, whose kernels may be quantized.
    """
    mesh, rules = make_mesh(MeshConfig()), ShardingRules()
    optimizer = make_optimizer(config)
    tokens = jnp.zeros((1, 2), jnp.int32)
    model = CausalLM(SPEC.config)

    def init(key: jax.Array) -> Any:
        if start is not None:
            return jax.tree.map(jnp.copy, start)  # a step is given its state's buffers
        return model.init(key, tokens, tokens == 0)

    state = make_state(init, optimizer, mesh, rules, config)
    step = make_step(loss, optimizer, config, mesh, rules)
    rng = np.random.default_rng(config.seed)
    with ProgressBar("train", config.steps) as bar:
        for n in range(config.steps):
            starts = rng.integers(0, len(text) - LENGTH, config.batch_size)
            batch = np.stack([text[start : start + LENGTH + 1] for start in starts])
            state, metrics = step(state, batch)
            done = (n + 1) % config.log_every == 0
            bar.update(n + 1, f"loss {float(metrics['loss']):.3f}" if done else "")
    return state.params


def trained(directory: Path, text: np.ndarray, config: TrainConfig = TRAIN) -> Any:
    """The variables of the model trained with `config`, which `directory` keeps for later calls."""
    settings = json.dumps(dataclasses.asdict(config), sort_keys=True)
    number = int.from_bytes(settings.encode(), "little") % (2**31 - 1)
    place = directory / f"char-lm-{number:08x}"
    if not place.exists():
        started = time.monotonic()
        variables = train(text, config)
        print(f"trained in {time.monotonic() - started:.0f} s")
        save_model(Pretrained(spec=SPEC, params=variables), place)
    return load_model(place).params
