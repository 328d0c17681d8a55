"""One model with a scheme for each kind of kernel, for tests of whole models."""

import dataclasses
import functools

import pytest

from jaxrec.models import ModelSpec
from jaxrec.nn import kernel_specs
from jaxrec.quant import (
    CodebookConfig,
    LlmInt8Config,
    UniformConfig,
    dequantize_params,
    quantize_params,
)
from jaxrec.testing import random_params, tiny_model

# A scheme for each kind of kernel, so that one model has them all. Products of the first mixture
# are those of a dense matrix, the second rounds inputs too.
MIXTURES = {
    "weights": {
        "query": UniformConfig(),
        "key": UniformConfig(bits=3, symmetric=False, per="group", group=8),
        "value": CodebookConfig(block=16),
        "out": CodebookConfig("fp4", block=12, double=False),
        "gate": UniformConfig(bits=2, per="group", group=4),
        "up": CodebookConfig(),
        "down": UniformConfig(bits=4, symmetric=False),
    },
    "inputs": {
        "query": UniformConfig(activations="token"),
        "key": UniformConfig(bits=4, per="group", group=8, activations="token"),
        "value": LlmInt8Config(threshold=1.5),
        "out": UniformConfig(symmetric=False, per="group", group=8, activations="token"),
        "gate": UniformConfig(symmetric=False, per="tensor", activations="token"),
        "up": LlmInt8Config(threshold=1.5, columns=4, outlier_weights="original"),
        "down": UniformConfig(activations="token"),
    },
}


@functools.cache
def _models(mixture, kind="causal", depth=2, vocab_size=30, dtype="float32"):
    """A model, its parameters with stored kernels, and with the same values as plain arrays."""
    spec = ModelSpec(kind, dataclasses.replace(tiny_model(vocab_size, depth), dtype=dtype))
    params = random_params(spec.build(), scale=0.5)["params"]
    for name, scheme in MIXTURES[mixture].items():
        params = quantize_params(params, kernel_specs(spec.shapes()), scheme, [name])
    return spec, {"params": params}, {"params": dequantize_params(params)}


@pytest.fixture
def quantized():
    """Return a function (mixture, kind, depth, ...) -> spec, stored and dense variables."""
    return _models
