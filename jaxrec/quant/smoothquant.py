"""SmoothQuant: scale outlier input channels down and weight rows up (Xiao et al. 2022).

Input channel j of the kernels that read a norm is divided by

    s_j = a_j^alpha / w_j^(1 - alpha),   a_j = max |X_j|,   w_j = max |W_j|

and row j of their weights is multiplied by it. The model computes the same function, and both
factors of the product become about equally hard to round. The division is folded into the norm's
gain and bias, so it costs nothing at run time. Kernels that do not read a norm (the output
projections) are not changed, as in the paper.
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

# Lower bound of w_j and of s_j, from the published code.
LEAST = 1e-5


def smooth(
    spec: ModelSpec, variables: Any, batches: Sequence[Batch], alpha: float = 0.5
) -> dict[str, Any]:
    """Move the difficulty of rounding from inputs to weights, without changing the function.

    Args:
      spec: the model.
      variables: {"params": tree} in floating point.
      batches: calibration data: keyword arguments of the model.
      alpha: how much difficulty is moved, in [0, 1]; 0.5 for most models, up to 0.9 for models like
        Llama.

    Returns:
      {"params": tree}, ready to be quantized with 8-bit inputs and weights.

    Raises:
      ConfigError: alpha is out of range, the residual stream also reads the norms (norm_order
        "post"), a kernel is already quantized, or there is a `TUNED` collection, whose layers also
        read the norms.
      DataError: there are no batches.
    """
    if not 0.0 <= alpha <= 1.0:
        raise ConfigError(f"alpha of SmoothQuant must lie in [0, 1], got {alpha}")
    if spec.config.norm_order == "post":
        raise ConfigError(
            "SmoothQuant cannot be folded into norms after the residual sum (norm_order 'post'): "
            "the residual stream also reads them; quantize with scales per token or LLM.int8() "
            "instead"
        )
    if jax.tree.leaves(variables.get(TUNED, {})):
        raise ConfigError(
            "SmoothQuant would change the inputs of tuned layers; merge the adapter first, or tune "
            "the smoothed model"
        )
    ranges = input_ranges(spec, variables, batches)
    return {**variables, "params": fold(spec, variables["params"], ranges, alpha)}


def fold(spec: ModelSpec, params: Any, ranges: dict[str, jax.Array], alpha: float) -> Any:
    """Fold the scales for given input ranges into the parameters, see `smooth`.

    Args:
      spec: the model.
      params: the "params" tree.
      ranges: the result of `input_ranges`, `[layers, I]` by path.
      alpha: how much difficulty is moved.
    """
    specs = kernel_specs(spec.shapes())
    leaves = flatten_dict(params, sep="/")
    for norm, paths in _readers(specs):
        stored = [path for path in paths if isinstance(leaves[f"{path}/kernel"], StoredKernel)]
        if stored:
            raise ConfigError(
                "SmoothQuant must scale kernels before they are quantized; already quantized: "
                f"{', '.join(stored)}"
            )
        # [layers, I, O]
        matrices = {path: specs[path].matrix(leaves[f"{path}/kernel"]) for path in paths}
        most = jnp.stack([jnp.max(jnp.abs(m), axis=-1) for m in matrices.values()]).max(axis=0)
        seen = ranges[paths[0]]
        gain = leaves[f"{norm}/scale"]
        if gain.ndim == 1:
            # All layers read the same norm.
            most, seen = most.max(axis=0, keepdims=True), seen.max(axis=0, keepdims=True)
        scale = jnp.maximum(seen**alpha / jnp.maximum(most, LEAST) ** (1.0 - alpha), LEAST)
        # A channel that was always zero must not be scaled up.
        scale = jnp.where(seen > 0.0, scale, 1.0)
        for path, matrix in matrices.items():
            leaves[f"{path}/kernel"] = specs[path].kernel(matrix * scale[..., None])
        for name in (f"{norm}/scale", f"{norm}/bias"):
            if name in leaves:
                leaves[name] = leaves[name] / scale.reshape(gain.shape)
    return unflatten_dict(leaves, sep="/")


def _readers(specs: dict[str, KernelSpec]) -> Iterator[tuple[str, list[str]]]:
    """Yield every norm whose output only kernels read, with these kernels."""
    pairs = (
        ("attention/input_norm", ("attention/mix",)),  # HSTU
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
    # Only the decoder's cross-attention reads the encoder's last norm.
    memory = [path for path in specs if "/memory_projection/" in path]
    if memory:
        yield "encoder/final_norm", memory
