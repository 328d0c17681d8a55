"""SmoothQuant: move the size of outlying channels from activations into weights (Xiao et al. 2022).

The inputs of a kernel after a norm are X = norm(x) * gain. Dividing the gain by s and multiplying
the rows of the kernel by s changes nothing in the model, but rounds both better::

    s_i = max|X_i|^alpha / max_o|W_io|^(1 - alpha)                                    (equation 4)

One norm feeds several kernels, which therefore share s. Kernels without a norm before them (the
attention's output, the MLP's last matrix) stay as they are, as in the published code.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import ConfigError
from jaxrec.models import ModelSpec
from jaxrec.nn import KernelSpec, StoredKernel, kernel_specs

# Norm of a block, and the kernels that read it, where the block has them.
READERS = {
    "attention_norm": ("attention/query", "attention/key", "attention/value"),
    "cross_norm": ("cross/query",),
    "mlp_norm": ("mlp/gate", "mlp/up"),
}
_SMALLEST = 1e-5


def smooth(
    spec: ModelSpec, params: Any, ranges: Mapping[str, jax.Array], alpha: float = 0.5
) -> Any:
    """Fold scales into norms and kernels: the same function, whose activations round better.

    Args:
      spec: the model, with norms before its sub-layers.
      params: the "params" tree, its kernels plain.
      ranges: largest |input| of every kernel, of `input_ranges`: `[layers, I]` by path.
      alpha: how much of the size goes over to the weights, in (0, 1): .5 as a rule, .8 to .9 for
        models of Llama's family.

    Returns:
      The "params" tree, in the dtypes that it had.

    Raises:
      ConfigError: alpha out of range, norms after the sub-layers (the stream itself would change),
        kernels that are stored already, or inputs that were not calibrated.
    """
    if not 0.0 < alpha < 1.0:
        raise ConfigError(f"alpha of SmoothQuant must lie in (0, 1), got {alpha}")
    if spec.config.norm_order == "post":
        raise ConfigError(
            "SmoothQuant folds scales into the norm before a sub-layer, and model.norm_order post "
            "has none: its norms write the residual stream; quantize with LLM.int8() instead"
        )
    specs = kernel_specs(spec.shapes())
    leaves = flatten_dict(params, sep="/", is_leaf=lambda _, leaf: isinstance(leaf, StoredKernel))
    blocks = sorted({path.split("/blocks/")[0] + "/blocks" for path in specs if "/blocks/" in path})
    for block in blocks:
        for norm, names in READERS.items():
            readers = [f"{block}/{name}" for name in names if f"{block}/{name}" in specs]
            if readers:
                _fold(
                    leaves,
                    f"{block}/{norm}",
                    {path: specs[path] for path in readers},
                    ranges,
                    alpha,
                )
    return unflatten_dict(leaves, sep="/")


def _fold(
    leaves: dict[str, Any],
    norm: str,
    readers: Mapping[str, KernelSpec],
    ranges: Mapping[str, jax.Array],
    alpha: float,
) -> None:
    """Change a norm and the kernels that read it, in place."""
    largest = []
    for path, spec in readers.items():
        kernel = leaves[f"{path}/kernel"]
        if isinstance(kernel, StoredKernel):
            raise ConfigError(
                f"the kernel of {path} is stored as {type(kernel).__name__} already; smooth the "
                "plain model, then quantize"
            )
        if path not in ranges:
            raise ConfigError(f"no range of the inputs of {path}; give those of input_ranges")
        largest.append(jnp.max(jnp.abs(spec.matrix(kernel)).astype(jnp.float32), axis=-1))
    weight = jnp.maximum(jnp.max(jnp.stack(largest), axis=0), _SMALLEST)
    seen = jnp.max(jnp.stack([ranges[path] for path in readers]), axis=0).astype(jnp.float32)
    scale = jnp.maximum(seen**alpha / weight ** (1.0 - alpha), _SMALLEST)
    # A channel that calibration never saw says nothing about its size.
    scale = jnp.where(seen > 0, scale, 1.0)
    for name in ("scale", "bias"):
        if f"{norm}/{name}" in leaves:
            leaf = leaves[f"{norm}/{name}"]
            leaves[f"{norm}/{name}"] = (leaf.astype(jnp.float32) / scale).astype(leaf.dtype)
    for path, spec in readers.items():
        kernel = leaves[f"{path}/kernel"]
        matrix = spec.matrix(kernel).astype(jnp.float32) * scale[..., None]
        leaves[f"{path}/kernel"] = spec.kernel(matrix).astype(kernel.dtype)
