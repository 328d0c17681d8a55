"""SmoothQuant: outlier channels of inputs scaled down, rows of weights up (Xiao et al. 2022).

Input channel j of the kernels that read a norm is divided by

    s_j = a_j^alpha / w_j^(1 - alpha),   a_j = max |X_j|,   w_j = max |W_j|

and row j of their weights multiplied, so that the model computes what it did, and both factors are
about as hard to round. The division is folded into the norm's gain and bias: nothing is left to do
at run time. Kernels that read no norm (the output projections) stay as they are, as in the paper.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import ConfigError
from jaxrec.models import ModelSpec
from jaxrec.nn import TUNED, KernelSpec, StoredKernel, kernel_specs
from jaxrec.quant.calibration import input_ranges
from jaxrec.quant.layers import Batch

# The published code's: of w_j, and of s_j.
LEAST = 1e-5


def smooth(
    spec: ModelSpec, variables: Any, batches: Sequence[Batch], alpha: float = 0.5
) -> dict[str, Any]:
    """Move the difficulty of rounding from inputs to weights, without a change of the function.

    Args:
      spec: the model.
      variables: {"params": tree} in floating point.
      batches: calibration data, what the model is called with.
      alpha: how much is moved, in [0, 1]; 0.5 for most models, up to 0.9 for Llama's kind.

    Returns:
      {"params": tree}, to be quantized with inputs and weights in 8 bits.

    Raises:
      ConfigError: alpha out of range, norms that the residual stream reads too (norm_order "post"),
        kernels that are stored already, or a `TUNED` collection, whose layers read the norms too.
      DataError: no batches.
    """
    if not 0.0 <= alpha <= 1.0:
        raise ConfigError(f"alpha of SmoothQuant must lie in [0, 1], got {alpha}")
    if spec.config.norm_order == "post":
        raise ConfigError(
            "SmoothQuant cannot be folded into norms after the residual sum (norm_order 'post'): "
            "the stream reads them too; quantize with scales per token or LLM.int8() instead"
        )
    if jax.tree.leaves(variables.get(TUNED, {})):
        raise ConfigError(
            "SmoothQuant would change what tuned layers read; merge the adapter first, or tune "
            "the smoothed model"
        )
    ranges = input_ranges(spec, variables, batches)
    return {**variables, "params": fold(spec, variables["params"], ranges, alpha)}


def fold(spec: ModelSpec, params: Any, ranges: dict[str, jax.Array], alpha: float) -> Any:
    """Fold the scales of given input ranges, as `smooth` does.

    Args:
      spec: the model.
      params: the "params" tree.
      ranges: of `input_ranges`, `[layers, I]` by path.
      alpha: how much is moved.
    """
    specs = kernel_specs(spec.shapes())
    leaves = flatten_dict(params, sep="/")
    for norm, paths in _readers(specs):
        stored = [path for path in paths if isinstance(leaves[f"{path}/kernel"], StoredKernel)]
        if stored:
            raise ConfigError(
                f"SmoothQuant scales kernels before they are quantized; stored already: "
                f"{', '.join(stored)}"
            )
        # [layers, I, O]
        matrices = {path: specs[path].matrix(leaves[f"{path}/kernel"]) for path in paths}
        most = jnp.stack([jnp.max(jnp.abs(m), axis=-1) for m in matrices.values()]).max(axis=0)
        seen = ranges[paths[0]]
        gain = leaves[f"{norm}/scale"]
        if gain.ndim == 1:
            # One norm is read by all layers.
            most, seen = most.max(axis=0, keepdims=True), seen.max(axis=0, keepdims=True)
        scale = jnp.maximum(seen**alpha / jnp.maximum(most, LEAST) ** (1.0 - alpha), LEAST)
        # What calibration never saw must not be blown up.
        scale = jnp.where(seen > 0.0, scale, 1.0)
        for path, matrix in matrices.items():
            leaves[f"{path}/kernel"] = specs[path].kernel(matrix * scale[..., None])
        for name in (f"{norm}/scale", f"{norm}/bias"):
            if name in leaves:
                leaves[name] = leaves[name] / scale.reshape(gain.shape)
    return unflatten_dict(leaves, sep="/")


def _readers(specs: dict[str, KernelSpec]) -> Iterator[tuple[str, list[str]]]:
    """Norms whose output only kernels read, and those kernels."""
    pairs = (
        ("attention_norm", ("attention/query", "attention/key", "attention/value")),
        ("cross_norm", ("cross/query",)),
        ("mlp_norm", ("mlp/gate", "mlp/up")),
    )
    for blocks in sorted(
        {path.split("/blocks/")[0] + "/blocks" for path in specs if "/blocks/" in path}
    ):
        for norm, names in pairs:
            paths = [f"{blocks}/{name}" for name in names if f"{blocks}/{name}" in specs]
            if paths:
                yield f"{blocks}/{norm}", paths
    # The encoder's last norm goes nowhere but to the decoder's cross-attention.
    memory = [path for path in specs if "/memory_projection/" in path]
    if memory:
        yield "encoder/final_norm", memory
