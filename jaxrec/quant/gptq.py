"""GPTQ: later weights compensate the rounding errors of earlier ones (Frantar et al. 2022).

For each layer, GPTQ lowers the mean of ||x W - x Q||^2 over calibration inputs x, whose second
derivative is H = 2/n sum x x'. Input channels are rounded one after another: when the weights w of
input i become q, the weights of all later inputs move by -(w - q) / U_ii * U_i, where U'U = H^-1
and U is upper triangular. This is the update of OBQ (Frantar and Alistarh 2022) in a fixed order.
"""

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import ConfigError, DataError
from jaxrec.models import ModelSpec
from jaxrec.quant.calibration import GRAM, stacked_targets
from jaxrec.quant.grid import Grid, decode, encode
from jaxrec.quant.layers import Batch, Layer, walk
from jaxrec.quant.ranges import RangeConfig, fit
from jaxrec.quant.tree import ALL
from jaxrec.quant.uniform import UniformConfig, UniformKernel

# Damping grows by DAMPING_GROWTH, up to DAMPING_MOST, until the Hessian has a Cholesky factor.
DAMPING_GROWTH, DAMPING_MOST = 10.0, 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class GptqConfig:
    """How GPTQ rounds kernels.

    Attributes:
      weights: bits, grid, groups and ranges of the weights, and how activations are rounded at run
        time.
      act_order: round inputs in order of decreasing H_ii, so that the most important weights are
        rounded while the most others can still compensate. Groups then follow that order and
        inputs are gathered at run time, unless `static_groups` is set.
      static_groups: take the ranges of groups from the original weights. Otherwise they are taken
        from the updated weights when the first input of the group is rounded.
      block: number of inputs that are rounded before all later ones are updated together; affects
        speed only.
      damping: share of the mean of H's diagonal that is added to the diagonal. It is increased if
        H then has no Cholesky factor.
      true_sequential: calibrate the later kernels of a block on the outputs of its already
        quantized earlier ones.

    Raises:
      ConfigError: a value out of range.

    Example:
      >>> GptqConfig(weights=UniformConfig(bits=3, per="group", group=32), act_order=True).damping
      0.01
    """

    weights: UniformConfig = UniformConfig(bits=4, symmetric=False)
    act_order: bool = False
    static_groups: bool = False
    block: int = 128
    damping: float = 0.01
    true_sequential: bool = True

    def __post_init__(self) -> None:
        """Reject values out of range."""
        if self.block < 1:
            raise ConfigError(f"block of GPTQ must be at least 1 input, got {self.block}")
        if not 0.0 <= self.damping <= DAMPING_MOST:
            raise ConfigError(
                f"damping of GPTQ must lie in [0, {DAMPING_MOST:g}], got {self.damping}"
            )


def gptq_params(
    spec: ModelSpec,
    variables: Any,
    batches: Sequence[Batch],
    config: GptqConfig,
    names: Iterable[str] = (ALL,),
) -> tuple[Any, dict[str, np.ndarray]]:
    """Quantize the kernels of the stacks; each layer is fed by the quantized layers before it.

    Args:
      spec: the model.
      variables: {"params": tree}, with the `TUNED` collection of an adapter if there is one.
      batches: calibration data: keyword arguments of the model.
      config: settings.
      names: which kernels, see `quant.targets`.

    Returns:
      The "params" tree, and for each kernel path the mean of ||x W - x Q||^2 in each layer,
      `[layers]` float64.

    Raises:
      ConfigError: a name is unknown, a kernel lies outside the stacks or is already quantized, or
        groups do not divide a kernel.
      DataError: there are no batches, or activations are not finite.
    """
    chosen = stacked_targets(spec, variables["params"], names)
    for path, found in chosen.items():
        try:
            config.weights.groups(found.inner)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
    errors: dict[str, list[float]] = {path: [] for path in chosen}

    def visit(layer: Layer) -> Any:
        groups = [
            tuple(name for name in names if f"{layer.path}/{name}" in chosen)
            for names in layer.groups()
        ]
        groups = [names for names in groups if names]
        together = [groups] if not config.true_sequential else [[names] for names in groups]
        params = layer.params
        for step in together:
            grams = layer.gather(params, GRAM, tuple(names[0] for names in step))
            for names in step:
                params = _quantize_layer(layer, params, names, grams[names[0]], config, errors)
        return params

    params = walk(spec, variables, batches, visit)
    return params, {path: np.asarray(layers) for path, layers in errors.items()}


def _quantize_layer(
    layer: Layer,
    params: Any,
    names: tuple[str, ...],
    gram: tuple[jax.Array, jax.Array],
    config: GptqConfig,
    errors: dict[str, list[float]],
) -> Any:
    """Quantize the kernels of a layer that share an input, and append their errors to `errors`."""
    hessian = 2.0 * np.asarray(gram[0], np.float64) / max(float(gram[1]), 1.0)
    leaves = flatten_dict(params, sep="/")
    for name in names:
        path, found = f"{layer.path}/{name}", layer.specs[name]
        matrix = found.matrix(leaves[f"{name}/kernel"])
        try:
            made = quantize(matrix, hessian, config, found.shape)
        except DataError as error:
            raise DataError(f"{path}, layer {layer.index}: {error}") from error
        leaves[f"{name}/kernel"] = made
        change = np.asarray(matrix, np.float64) - np.asarray(made.dense(), np.float64)
        errors[path].append(output_error(change, hessian))
    return unflatten_dict(leaves, sep="/")


def output_error(change: np.ndarray, hessian: np.ndarray) -> float:
    """Return the mean of ||x D||^2 = tr(D'HD) / 2 for a kernel change D `[I, O]` and H `[I, I]`."""
    return float(np.sum((hessian @ change) * change) / 2.0)


def quantize(
    matrix: jax.Array, hessian: np.ndarray, config: GptqConfig, kernel_shape: tuple[int, ...]
) -> UniformKernel:
    """Quantize one kernel.

    Args:
      matrix: `[I, O]`.
      hessian: `[I, I]` float64, 2/n sum x x'. Weights of inputs that are always 0 become 0.
      config: settings.
      kernel_shape: shape of the kernel whose matrix this is.

    Raises:
      DataError: H is not finite, or has no Cholesky factor even with the largest damping.
    """
    inner = matrix.shape[0]
    weights = config.weights
    groups = weights.groups(inner)
    dead = np.diagonal(hessian) == 0.0
    hessian = hessian + np.diag(dead.astype(np.float64))
    matrix = jnp.where(jnp.asarray(dead)[:, None], 0.0, matrix.astype(jnp.float32))
    order = np.arange(inner)
    if config.act_order:
        order = np.argsort(-np.diagonal(hessian), kind="stable")
    factor = inverse_factor(hessian[np.ix_(order, order)], config.damping)
    # Ranges of whole columns always come from the original weights; order does not affect them.
    moving = groups > 1 and not config.static_groups
    scale, zero = weights.fit(matrix)
    group = np.arange(inner) // (inner // groups)
    codes, scale, zero = _round(
        matrix[order],
        jnp.asarray(factor, jnp.float32),
        jnp.asarray(group if moving else group[order], jnp.int32),
        scale,
        zero,
        block=inner // groups if moving else min(config.block, inner),
        grid=weights.grid,
        moving=weights.range if moving else None,
    )
    gathered = moving and config.act_order
    if config.act_order and not gathered:
        codes = codes[np.argsort(order)]
    return UniformKernel.of_codes(
        codes,
        scale,
        zero,
        bits=weights.bits,
        kernel_shape=kernel_shape,
        activations=weights.activations,
        order=jnp.asarray(order, jnp.int32) if gathered else None,
    )


def inverse_factor(hessian: np.ndarray, damping: float) -> np.ndarray:
    """Compute the upper triangular U with U'U = (H + damping mean(diag H) I)^-1.

    Runs in float64 on the host, because not every device has float64. H = RR' with R upper
    triangular gives U = R^-1. That needs one factorization and avoids inverting H, whose condition
    number is the square of R's.

    Args:
      hessian: `[I, I]` float64.
      damping: share of the mean diagonal; grows tenfold while H has no Cholesky factor.

    Returns:
      `[I, I]` float64, with a positive diagonal.

    Raises:
      DataError: H is not finite, or has no Cholesky factor even with the largest damping.
    """
    mean = float(np.mean(np.diagonal(hessian)))
    if not np.isfinite(hessian).all():
        raise DataError(
            "the calibration inputs of GPTQ are not finite; check the model for overflow or NaN"
        )
    while damping <= DAMPING_MOST:
        damped = hessian + damping * mean * np.eye(len(hessian))
        try:
            # NumPy's factor is lower triangular: rotating by 180 degrees makes it upper.
            lower = np.linalg.cholesky(damped[::-1, ::-1])
        except np.linalg.LinAlgError:
            damping = max(damping * DAMPING_GROWTH, float(np.finfo(np.float32).eps))
            continue
        upper = lower[::-1, ::-1]
        return scipy.linalg.solve_triangular(upper, np.eye(len(upper)))
    raise DataError(
        f"the Hessian of GPTQ is not positive definite with damping {DAMPING_MOST:g}; calibrate on "
        "more or different data"
    )


@functools.partial(jax.jit, static_argnames=("block", "grid", "moving"))
def _round(
    matrix: jax.Array,
    factor: jax.Array,
    group: jax.Array,
    scale: jax.Array,
    zero: jax.Array | None,
    *,
    block: int,
    grid: Grid,
    moving: RangeConfig | None,
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """Round the rows of a matrix one after another.

    Args:
      matrix: `[I, O]` float32, rows in the order of rounding.
      factor: U, `[I, I]`.
      group: `[I]` int32, the group of each row.
      scale: S, `[G, O or 1]`.
      zero: Z, of the shape of S, or None.
      block: number of rows that are rounded before the rows below are updated.
      grid: the integers.
      moving: how S and Z of a group are fitted when its first row is reached; a block is then one
        group. None keeps the given S and Z.

    Returns:
      `[I, O]` int8 codes, S and Z.
    """
    inner, outer = matrix.shape
    blocks = -(-inner // block)
    # Pad the last block with rows of zeros, which take no part in the updates.
    extra = blocks * block - inner
    matrix = jnp.pad(matrix, ((0, extra), (0, 0)))
    factor = jnp.pad(factor, ((0, extra), (0, extra)))
    factor = factor + jnp.diag(jnp.arange(inner + extra) >= inner).astype(jnp.float32)
    group = jnp.pad(group, (0, extra))
    highest = jax.lax.Precision.HIGHEST

    def whole_block(n: jax.Array, carry: Any) -> Any:
        matrix, codes, scale, zero = carry
        start = n * block
        rows = jax.lax.dynamic_slice_in_dim(matrix, start, block)
        wide = jax.lax.dynamic_slice_in_dim(factor, start, block)
        square = jax.lax.dynamic_slice_in_dim(wide, start, block, axis=1)
        if moving is not None:
            found = fit(rows, grid, True, 1, moving)
            scale, zero = (
                None if new is None else jax.lax.dynamic_update_slice_in_dim(old, new, n, 0)
                for old, new in zip((scale, zero), found, strict=True)
            )

        def one_row(i: jax.Array, inside: Any) -> Any:
            rows, codes, errors = inside
            own = group[start + i][None]
            # [1, O or 1] and [1, O]
            s, z = scale[own], None if zero is None else zero[own]
            row = jax.lax.dynamic_slice_in_dim(rows, i, 1)
            code = encode(row, s, z, grid)
            # [1, B], zero before i
            across = jax.lax.dynamic_slice_in_dim(square, i, 1)
            error = (row - decode(code, s, z)) / across[0, i]
            rows = rows - across.T * error
            codes = jax.lax.dynamic_update_slice_in_dim(codes, code, start + i, 0)
            return rows, codes, jax.lax.dynamic_update_slice_in_dim(errors, error, i, 0)

        rows, codes, errors = jax.lax.fori_loop(
            0, block, one_row, (rows, codes, jnp.zeros((block, outer), jnp.float32))
        )
        below = jnp.arange(inner + extra)[None] >= start + block
        later = jnp.where(below, wide, 0.0)
        matrix = matrix - jnp.matmul(later.T, errors, precision=highest)
        return matrix, codes, scale, zero

    codes = jnp.zeros(matrix.shape, jnp.int8)
    _, codes, scale, zero = jax.lax.fori_loop(0, blocks, whole_block, (matrix, codes, scale, zero))
    return codes[:inner], scale, zero
