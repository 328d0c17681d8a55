"""What quantization costs a language model in perplexity, method by method.

    JAXREC_DATA=DIR python tools/bench quant [--train-dir DIR]

It needs the data set GSM8K in DIR/gsm8k. The model is that of `char_lm.py`, trained on GSM8K; its
held-out problems are read in 300 windows of 128 symbols, and 96 windows of training text calibrate.
All 24 matrices of the blocks are quantized, and tables stay in float32. The outlier model is the
same function: three channels of every norm are multiplied by 60, and the rows of the matrices that
read them are divided by 60. Percent are of perplexity, against float32, for one seed. LLM.int8()
keeps the weights of outlier features as they are, like the paper; "8-bit outliers" reads them from
the codes, like bitsandbytes. Quantization-aware training continues the training, so the rows below
it are those of the same steps without rounding.
"""

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from support import char_lm
from support.header import print_header
from support.table import Table

from jaxrec.core import keep_memory
from jaxrec.nn import kernel_specs
from jaxrec.quant import (
    CodebookConfig,
    DistillConfig,
    GptqConfig,
    LlmInt8Config,
    QatConfig,
    UniformConfig,
    distilled_params,
    finish,
    gptq_params,
    input_ranges,
    quantize_params,
    smooth,
    with_static_activations,
)
from jaxrec.train import TrainConfig

SPEC = char_lm.SPEC
SPECS = kernel_specs(SPEC.shapes())
READERS = {
    "attention_norm": ("attention/query", "attention/key", "attention/value"),
    "mlp_norm": ("mlp/up",),
}
GROUP = 32
# The rows of the table that stand in the last line.
QUOTED = {
    "int8": "8 bits, symmetric",
    "rtn4": "4 bits, asymmetric",
    "gptq4": "4 bits, GPTQ",
    "rtn3": "3 bits, asymmetric",
    "gptq3": "3 bits, GPTQ",
    "nf4": "NF4, double quantization",
    "outlier_w8a8": "outliers: W8A8 per tensor",
    "outlier_llm_int8": "outliers: LLM.int8()",
    "outlier_smoothquant": "outliers: SmoothQuant .5, per tensor",
}


def weights_only(model: Any, batches: list[Any]) -> Iterator[tuple[str, Any]]:
    """Names and parameters of the methods that quantize weights alone."""
    plain = model["params"]

    def rounded(**settings: Any) -> Any:
        return quantize_params(plain, SPECS, UniformConfig(**settings))

    yield "8 bits, symmetric", rounded(bits=8)
    yield "8 bits, asymmetric", rounded(bits=8, symmetric=False)
    for bits in (4, 3):
        grouped = {"per": "group", "group": GROUP}
        yield f"{bits} bits, symmetric", rounded(bits=bits)
        yield f"{bits} bits, asymmetric", rounded(bits=bits, symmetric=False)
        yield f"{bits} bits, groups of {GROUP}", rounded(bits=bits, symmetric=False, **grouped)
        for name, config in {
            "GPTQ": GptqConfig(weights=UniformConfig(bits=bits, symmetric=False)),
            "GPTQ, act-order": GptqConfig(
                weights=UniformConfig(bits=bits, symmetric=False), act_order=True
            ),
            f"GPTQ, groups of {GROUP}": GptqConfig(
                weights=UniformConfig(bits=bits, symmetric=False, **grouped)
            ),
        }.items():
            yield f"{bits} bits, {name}", gptq_params(SPEC, model, batches, config)[0]
    yield "NF4", quantize_params(plain, SPECS, CodebookConfig(double=False))
    yield "NF4, double quantization", quantize_params(plain, SPECS, CodebookConfig())
    yield "4 bits, symmetric, groups of 64", rounded(bits=4, per="group", group=64)


def inputs_too(model: Any, batches: list[Any]) -> Iterator[tuple[str, Any]]:
    """Names and parameters of the methods that multiply in int8."""
    tensor = UniformConfig(bits=8, per="tensor", activations="tensor")
    vector = UniformConfig(bits=8, activations="token")
    yield "W8A8 per tensor", quantize_params(model["params"], SPECS, tensor)
    yield "W8A8 vector-wise", quantize_params(model["params"], SPECS, vector)
    original = LlmInt8Config(outlier_weights="original")
    yield "LLM.int8()", quantize_params(model["params"], SPECS, original)
    yield "LLM.int8(), 8-bit outliers", quantize_params(model["params"], SPECS, LlmInt8Config())
    for alpha in (0.25, 0.5, 0.75, 0.85):
        smoothed = smooth(SPEC, model, batches, alpha)["params"]
        for name, scheme in (("per tensor", tensor), ("per token", vector)):
            shown = f"{alpha:g}".lstrip("0")
            yield f"SmoothQuant {shown}, {name}", quantize_params(smoothed, SPECS, scheme)
    smoothed = smooth(SPEC, model, batches)
    ranges = input_ranges(SPEC, smoothed, batches)
    static = with_static_activations(quantize_params(smoothed["params"], SPECS, tensor), ranges)
    yield "SmoothQuant .5, static", static


def with_training(model: Any, batches: list[Any], text: np.ndarray) -> Iterator[tuple[str, Any]]:
    """Names and parameters of the methods that train: ZeroQuant's distillation, and QAT."""
    plain = model["params"]
    grouped = UniformConfig(bits=4, per="group", group=GROUP, activations="token")
    yield "W4A8, groups of 32", quantize_params(plain, SPECS, grouped)
    pieces = [
        jax.tree.map(lambda x, at=at: x[at : at + 16], b) for b in batches for at in (0, 16, 32)
    ]
    config = DistillConfig(weights=grouped, steps=200, lr=3e-4)
    params, errors = distilled_params(SPEC, model, pieces, config)
    yield "W4A8, groups of 32, distilled", params
    left = ", ".join(f"{after / before:.2f}" for before, after in errors["decoder/blocks"])
    print(f"  mean squared error of each block, over that of rounding to nearest: {left}")
    more = TrainConfig(steps=100, batch_size=20, lr=3e-4, warmup_steps=10, seed=1)
    weights = UniformConfig(bits=4)
    start = quantize_params(plain, SPECS, QatConfig(weights))
    aware = char_lm.train(text, more, {"params": start})["params"]
    yield "4 bits, symmetric, QAT of 100 steps", finish(aware)
    longer = char_lm.train(text, more, model)["params"]
    yield "4 bits, symmetric, after 100 steps", quantize_params(longer, SPECS, weights)
    yield "float32, after 100 steps", longer


def with_outliers(model: Any, factor: float = 60.0) -> Any:
    """The variables of the same function with three large channels after every norm."""
    leaves = flatten_dict(model["params"], sep="/")
    rng = np.random.default_rng(0)
    for norm, readers in READERS.items():
        scale = f"decoder/blocks/{norm}/scale"
        layers, width = leaves[scale].shape
        large = np.ones((layers, width), np.float32)
        for row in large:
            row[rng.choice(width, 3, replace=False)] = factor
        leaves[scale] = leaves[scale] * jnp.asarray(large)
        for reader in readers:
            path = f"decoder/blocks/{reader}"
            matrix = SPECS[path].matrix(leaves[f"{path}/kernel"]) / large[:, :, None]
            leaves[f"{path}/kernel"] = SPECS[path].kernel(matrix)
    return {"params": unflatten_dict(leaves, sep="/")}


@dataclasses.dataclass(frozen=True)
class Options:
    """Where the model is kept.

    Attributes:
      train_dir: directory of the trained model. If it is not there, it is trained on GSM8K, which
        must be in `gsm8k/` below the folder that JAXREC_DATA names.
    """

    train_dir: Path = Path(tempfile.gettempdir()) / "char-lm"


def run(options: Options) -> Table:
    """Quantize the model by every method, and measure its perplexity."""
    keep_memory()
    print_header()
    text, held_out = char_lm.read_text()
    model = char_lm.trained(options.train_dir, text)
    windows = char_lm.windows(held_out, 300)
    calibration = jnp.asarray(char_lm.windows(text, 96)[:, :-1])
    batches = [
        {"tokens": tokens, "valid": jnp.ones(tokens.shape, bool)}
        for tokens in (calibration[:48], calibration[48:])
    ]
    full = char_lm.perplexity(model, windows)
    outliers = with_outliers(model)
    moved = char_lm.perplexity(outliers, windows) / full - 1
    print(f"float32: perplexity {full:.4f}; of the outlier model {100 * moved:+.5f} %")
    percents: dict[str, float] = {}
    for prefix, rows in (
        ("", weights_only(model, batches)),
        ("", inputs_too(model, batches)),
        ("outliers: ", inputs_too(outliers, batches)),
        ("", with_training(model, batches, text)),
    ):
        for name, params in rows:
            percent = 100 * (char_lm.perplexity({"params": params}, windows) / full - 1)
            percents[prefix + name] = percent
            print(f"{prefix + name:40} {percent:+8.3f} %", flush=True)
    quoted = {key: round(percents[name], 3) for key, name in QUOTED.items()}
    return Table({"perplexity_percent": quoted})
