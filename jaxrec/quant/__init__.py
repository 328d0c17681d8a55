"""Quantization: kernels stored in few bits, and the transforms of trees that make them."""

from jaxrec.quant.activations import Activations, quantize_rows
from jaxrec.quant.calibration import input_ranges, stacked_targets, with_static_activations
from jaxrec.quant.codebook import CodebookConfig, CodebookKernel
from jaxrec.quant.codebooks import Codebook
from jaxrec.quant.gptq import GptqConfig, gptq_params
from jaxrec.quant.grid import Grid, decode, encode, scale_and_zero
from jaxrec.quant.llm_int8 import LlmInt8Config, LlmInt8Kernel
from jaxrec.quant.qat import FakeKernel, QatConfig, fake_quantize, finish
from jaxrec.quant.ranges import RangeConfig, fit
from jaxrec.quant.sharding import box_params
from jaxrec.quant.smoothquant import smooth
from jaxrec.quant.tree import (
    Scheme,
    bits_per_parameter,
    bytes_of,
    dequantize_params,
    parameters_of,
    quantize_params,
    targets,
)
from jaxrec.quant.uniform import UniformConfig, UniformKernel
from jaxrec.quant.zeroquant import DistillConfig, distilled_params

__all__ = [
    "Activations",
    "Codebook",
    "CodebookConfig",
    "CodebookKernel",
    "DistillConfig",
    "FakeKernel",
    "GptqConfig",
    "Grid",
    "LlmInt8Config",
    "LlmInt8Kernel",
    "QatConfig",
    "RangeConfig",
    "Scheme",
    "UniformConfig",
    "UniformKernel",
    "bits_per_parameter",
    "box_params",
    "bytes_of",
    "decode",
    "dequantize_params",
    "distilled_params",
    "encode",
    "fake_quantize",
    "finish",
    "fit",
    "gptq_params",
    "input_ranges",
    "parameters_of",
    "quantize_params",
    "quantize_rows",
    "scale_and_zero",
    "smooth",
    "stacked_targets",
    "targets",
    "with_static_activations",
]
