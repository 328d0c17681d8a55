"""What to train for a budget of operations: size, data, shape of the model, and days."""

import dataclasses
import math
from pathlib import Path
from typing import Any, TypedDict

from jaxrec.core import (
    ConfigError,
    device_names,
    nearest,
    peak_flops,
    read_json,
)
from jaxrec.runs.scaling_laws import (
    CHINCHILLA,
    KAPLAN_POWER,
    PF_DAY,
    Chinchilla,
    KaplanSteps,
    Optimum,
    check_budget,
    kaplan_allocation,
)

KAPLAN = ("kaplan", "kaplan-empirical")
_DAY = 86400.0
# Widths per layer of published models lie around this: 128 of GPT-3, 102 of Chinchilla.
_ASPECT = 100
# Relative error of the size that a rounder aspect is worth.
_PREFER = 0.02
_SMALLEST = 12 * 64**2


class Shape(TypedDict):
    """A decoder of about the planned size; `params` are those of its layers, 12 layers width²."""

    layers: int
    width: int
    heads: int
    params: int


class _Constants(TypedDict):
    """What is read of the last line of `jaxrec scaling fit`."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float


def optimum(flops: float, constants: str = "epoch") -> Optimum:
    """The compute-optimal size and data of a budget.

    Args:
      flops: C, the budget.
      constants: "epoch", "paper" or "paper-tex" of Chinchilla's law; "kaplan" for the closed form
        of KM's L(N, S_min), or "kaplan-empirical" for its measured allocation, whose loss is that
        of KM's L(C_min). KM counts N without embeddings, and C_min is the compute of training far
        below the critical batch. Otherwise a JSON file with E, A, B, alpha and beta.

    Raises:
      ConfigError: a budget that is not positive, or unknown constants.
      DataError: the file cannot be read, or does not hold the constants.

    Example:
      >>> best = optimum(5.76e23)
      >>> f"{best.params:.3g}", f"{best.tokens:.3g}", round(best.tokens / best.params, 1)
      ('7.22e+10', '1.33e+12', 18.4)
    """
    check_budget(flops)
    if constants in CHINCHILLA:
        return CHINCHILLA[constants].optimum(flops)
    if constants == "kaplan":
        return KaplanSteps().optimum(flops)
    if constants == "kaplan-empirical":
        params = kaplan_allocation(flops).params
        loss = float(KAPLAN_POWER["compute"].loss(flops / PF_DAY))
        return Optimum(params, flops / (6 * params), loss)
    path = Path(constants)
    if path.suffix == ".json":
        write = "write the last line of `jaxrec scaling fit TABLE --law chinchilla` there"
        values = read_json(path, _Constants, missing=write, fix=write)
        return Chinchilla(
            E=values["E"],
            A=values["A"],
            B=values["B"],
            alpha=values["alpha"],
            beta=values["beta"],
        ).optimum(flops)
    names = (*CHINCHILLA, *KAPLAN)
    raise ConfigError(
        f"no constants {constants!r}{nearest(constants, names)}; sets: {', '.join(names)}, or a "
        "file FIT.json"
    )


def propose_shape(params: float) -> Shape:
    """Layers and width of a decoder with about N parameters outside its embeddings.

    A layer with an MLP of four times the width has 12 width² parameters. Widths are multiples of
    64, or of 128 from 1,024 on, and each head has 64 or 128 of it.

    Raises:
      ConfigError: fewer parameters than one layer of the smallest width has.

    Example:
      >>> propose_shape(7e10)
      {'layers': 87, 'width': 8192, 'heads': 64, 'params': 70061654016}
    """
    if params < _SMALLEST:
        raise ConfigError(
            f"{params:.3g} parameters are fewer than one layer of width 64 has ({_SMALLEST:,}); "
            "plan with more FLOP"
        )
    best: tuple[float, int, int] | None = None
    middle = (params / (12 * _ASPECT**2)) ** (1 / 3)
    for layers in range(max(1, math.floor(middle / 2)), math.ceil(middle * 2) + 1):
        exact = math.sqrt(params / (12 * layers))
        step = 128 if exact >= 1024 else 64
        width = max(1, round(exact / step)) * step
        off = abs(math.log(12 * layers * width**2 / params))
        cost = off + _PREFER * abs(math.log2(width / layers / _ASPECT))
        if best is None or cost < best[0]:
            best = cost, layers, width
    assert best is not None
    _, layers, width = best
    heads = width // (128 if width >= 1024 else 64)
    return Shape(layers=layers, width=width, heads=heads, params=12 * layers * width**2)


def device_peak(name: str) -> float:
    """FLOP/s of one device by its short name, dense bf16.

    Raises:
      ConfigError: an unknown device; the message lists those with a known peak.

    Example:
      >>> device_peak("h100")
      989000000000000.0
    """
    names = device_names()
    if name.lower() not in names:
        raise ConfigError(
            f"no device {name!r}{nearest(name.lower(), names)}; devices: {', '.join(names)}; for "
            "another one, give its FLOP/s with --peak-flops"
        )
    peak = peak_flops(names[name.lower()])
    assert peak is not None  # the names are those of the table of peaks
    return peak


def training_days(flops: float, peak: float, devices: int, mfu: float) -> float:
    """Days of training: C / (devices x peak x MFU).

    Args:
      flops: C.
      peak: FLOP/s of one device.
      devices: how many of them train.
      mfu: share of the peak that the model's operations reach.

    Raises:
      ConfigError: a number that is not above 0, or an MFU above 1.

    Example:
      >>> training_days(8.64e19, 1e15, 2, 0.5)
      1.0
    """
    check_budget(flops)
    if not (peak > 0 and devices > 0 and 0 < mfu <= 1):
        raise ConfigError(
            f"devices and their FLOP/s must be above 0 and the MFU in (0, 1], got {devices} "
            f"devices of {peak:g} FLOP/s with an MFU of {mfu:g}"
        )
    return flops / (devices * peak * mfu * _DAY)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """A budget, its optimum, and what it takes.

    Attributes:
      flops: the budget C.
      constants: whose law it is.
      best: N, D and the predicted loss.
      shape: layers and width of about that size; None where N is smaller than any.
      days: of training; None without hardware.
      batch_tokens: KM's critical batch at the predicted loss, in tokens; None for Chinchilla's law,
        which has no batch.
    """

    flops: float
    constants: str
    best: Optimum
    shape: Shape | None
    days: float | None = None
    batch_tokens: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The plan as one object."""
        return {
            "flops": self.flops,
            "constants": self.constants,
            **self.best._asdict(),
            "tokens_per_param": self.best.tokens / self.best.params,
            "shape": self.shape,
            "days": self.days,
            "batch_tokens": self.batch_tokens,
        }


def make_plan(
    flops: float,
    *,
    constants: str = "epoch",
    peak: float | None = None,
    devices: int = 1,
    mfu: float = 0.4,
) -> Plan:
    """Plan a training for a budget.

    Args:
      flops: C, the budget.
      constants: see `optimum`.
      peak: FLOP/s of one device; None for no days.
      devices: how many of them train.
      mfu: share of the peak that the model's operations reach.

    Raises:
      ConfigError, DataError: see `optimum`.

    Example:
      >>> plan = make_plan(1e21, peak=device_peak("h100"), devices=8)
      >>> f"{plan.best.params:.3g}", f"{plan.best.tokens:.3g}", round(plan.days, 2)
      ('2.78e+09', '6e+10', 3.66)
    """
    best = optimum(flops, constants)
    if min(best.params, best.tokens) < 1:
        raise ConfigError(
            f"a budget of {flops:g} FLOP trains {best.params:.3g} parameters on {best.tokens:.3g} "
            "tokens, which is no model; give more FLOP, such as 1e21"
        )
    shape = propose_shape(best.params) if best.params >= _SMALLEST else None
    days = None if peak is None else training_days(flops, peak, devices, mfu)
    batch = None
    if constants == "kaplan":
        batch = float(KaplanSteps().critical_batch(best.loss))
    elif constants == "kaplan-empirical":
        batch = kaplan_allocation(flops).batch
    return Plan(
        flops=flops,
        constants=constants,
        best=best,
        shape=shape,
        days=days,
        batch_tokens=batch,
    )
