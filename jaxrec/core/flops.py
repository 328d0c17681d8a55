"""Floating-point operations of a function's matrix products, from its shapes alone.

XLA's own cost analysis counts the body of a loop once however often it runs, and a custom kernel
not at all; counting in the traced program has neither flaw.
"""

import math
from collections.abc import Callable
from typing import Any

import jax

# Dense bf16 products, FLOP/s a device, from the vendors' data sheets; by the start of the kind's
# name, the longest that fits.
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
    """FLOP/s of dense bf16 products on a device of some `device_kind`; None where unknown."""
    fitting = [name for name in _PEAKS if kind == name or kind.startswith((name + " ", name + "-"))]
    return _PEAKS[max(fitting, key=len)] if fitting else None


def product_flops(function: Callable[..., Any], *arguments: Any) -> float:
    """Operations of all matrix products and convolutions when `function` runs.

    A multiplication with its addition counts as two. Loops count as often as they run, except
    `while_loop`, which counts as one turn, since nobody knows their number; of a conditional the
    dearest branch counts.

    Args:
      function: traceable.
      arguments: arrays or `jax.ShapeDtypeStruct`; nothing is computed.
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
    turns = 1
    if name == "scan":
        turns = params["length"]
    elif name == "pallas_call":
        turns = math.prod(params["grid_mapping"].grid)
    return turns * sum(_count(inner) for value in params.values() for inner in _jaxprs(value))


def _jaxprs(value: Any) -> list[Any]:
    """Jaxprs that a parameter of an equation holds, closed or not."""
    if isinstance(value, tuple | list):
        return [inner for part in value for inner in _jaxprs(part)]
    if hasattr(value, "eqns"):
        return [value]
    if hasattr(value, "jaxpr"):
        return _jaxprs(value.jaxpr)
    return []
