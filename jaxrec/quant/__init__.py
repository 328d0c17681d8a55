"""Quantization: kernels stored in few bits, and functions that convert parameter trees to them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.quant.activations import Activations as Activations, quantize_rows as quantize_rows
    from jaxrec.quant.calibration import (
        input_ranges as input_ranges,
        stacked_targets as stacked_targets,
        with_static_activations as with_static_activations,
    )
    from jaxrec.quant.codebook import (
        CodebookConfig as CodebookConfig,
        CodebookKernel as CodebookKernel,
    )
    from jaxrec.quant.codebooks import Codebook as Codebook
    from jaxrec.quant.gptq import GptqConfig as GptqConfig, gptq_params as gptq_params
    from jaxrec.quant.grid import (
        Grid as Grid,
        decode as decode,
        encode as encode,
        scale_and_zero as scale_and_zero,
    )
    from jaxrec.quant.llm_int8 import LlmInt8Config as LlmInt8Config, LlmInt8Kernel as LlmInt8Kernel
    from jaxrec.quant.qat import (
        FakeKernel as FakeKernel,
        QatConfig as QatConfig,
        fake_quantize as fake_quantize,
        finish as finish,
    )
    from jaxrec.quant.ranges import RangeConfig as RangeConfig, fit as fit
    from jaxrec.quant.sharding import box_params as box_params
    from jaxrec.quant.smoothquant import smooth as smooth
    from jaxrec.quant.tree import (
        Scheme as Scheme,
        bits_per_parameter as bits_per_parameter,
        bytes_of as bytes_of,
        dequantize_params as dequantize_params,
        parameters_of as parameters_of,
        quantize_params as quantize_params,
        targets as targets,
    )
    from jaxrec.quant.uniform import UniformConfig as UniformConfig, UniformKernel as UniformKernel
    from jaxrec.quant.zeroquant import (
        DistillConfig as DistillConfig,
        distilled_params as distilled_params,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
