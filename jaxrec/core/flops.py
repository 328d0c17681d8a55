"""Floating-point operations of a function's matrix products, counted from shapes alone.

XLA's own cost analysis counts the body of a loop once, however often it runs, and ignores custom
kernels. Counting in the traced program has neither flaw.
"""

import math
from collections.abc import Callable
from typing import Any

import jax

# FLOP/s per device for dense bf16 products, from the vendors' data sheets. A key is the start of a
# device kind; the longest matching key counts.
_PEAKS = {
    "NVIDIA H100": 989e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100 NVL": 835e12,
    "NVIDIA H200": 989e12,
    "NVIDIA B200": 2250e12,
    "NVIDIA A100": 312e12,
    "NVIDIA L4": 121e12,
    "NVIDIA L40S": 362e12,
    "Tesla T4": 65e12,
    "TPU v2": 45e12,
    "TPU v3": 123e12,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v5": 459e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
    "TPU v6e": 918e12,
}


def peak_flops(kind: str) -> float | None:
    """Return FLOP/s of dense bf16 products for a `device_kind` of JAX; None if it is unknown.

    Example:
      >>> peak_flops("NVIDIA H100 80GB HBM3")
      989000000000000.0
    """
    fitting = [name for name in _PEAKS if kind == name or kind.startswith((name + " ", name + "-"))]
    return _PEAKS[max(fitting, key=len)] if fitting else None


def device_names() -> dict[str, str]:
    """Short names of the devices whose peak is known, such as "h100", and their device kinds.

    Example:
      >>> device_names()["h100"], device_names()["tpu-v5p"]
      ('NVIDIA H100', 'TPU v5p')
    """
    short = (kind.removeprefix("NVIDIA ").removeprefix("Tesla ") for kind in _PEAKS)
    return {name.lower().replace(" ", "-"): kind for name, kind in zip(short, _PEAKS, strict=True)}


def product_flops(function: Callable[..., Any], *arguments: Any) -> float:
    """Count the operations of all matrix products and convolutions in one call of `function`.

    A multiplication with its addition counts as two. Loops count as often as they run, except that
    a `while_loop` counts once, since its number of rounds is unknown. The most expensive branch of
    a conditional counts.

    Args:
      function: any function that JAX can trace.
      arguments: arrays or `jax.ShapeDtypeStruct`; nothing is computed.

    Example:
      >>> import jax.numpy as jnp
      >>> product_flops(jnp.dot, jnp.zeros((2, 3)), jnp.zeros((3, 4)))  # 2 * 2 * 3 * 4
      48.0
    """
    return _count(jax.make_jaxpr(function)(*arguments).jaxpr)


def _count(jaxpr: Any) -> float:
    return sum(_equation(equation) for equation in jaxpr.eqns)


def _equation(equation: Any) -> float:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        left = equation.invars[0].aval.shape
        each = math.prod(left[axis] for axis in contracted)
        return 2.0 * each * math.prod(equation.outvars[0].aval.shape)
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        each = math.prod(kernel) // kernel[params["dimension_numbers"].rhs_spec[0]]
        return 2.0 * each * math.prod(equation.outvars[0].aval.shape)
    if name == "cond":
        return max(_count(branch.jaxpr) for branch in params["branches"])
    rounds = 1
    if name == "scan":
        rounds = params["length"]
    elif name == "pallas_call":
        rounds = math.prod(params["grid_mapping"].grid)
    return rounds * sum(_count(inner) for value in params.values() for inner in _jaxprs(value))


def _jaxprs(value: Any) -> list[Any]:
    """Return the jaxprs, closed or not, inside a parameter of an equation."""
    if isinstance(value, tuple | list):
        return [inner for part in value for inner in _jaxprs(part)]
    if hasattr(value, "eqns"):
        return [value]
    if hasattr(value, "jaxpr"):
        return _jaxprs(value.jaxpr)
    return []
