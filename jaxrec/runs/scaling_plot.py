"""Figures of fitted scaling laws: isoFLOP curves with their minima, or points and a power law."""

import io
from typing import Any

import numpy as np

from jaxrec.core import ConfigError
from jaxrec.runs.scaling_estimate import LAWS, Fit, with_min_steps
from jaxrec.runs.scaling_frontier import Frontier
from jaxrec.runs.scaling_laws import Chinchilla, KaplanJoint, KaplanSteps
from jaxrec.runs.scaling_points import Points

FORMATS = ("png", "svg", "pdf")
_BLUE, _BROWN, _INK = "#0b57b0", "#9a4f00", "#444444"
_NAMES = {"params": "parameters N", "tokens": "tokens D", "flops": "FLOP"}
_CURVES = 9  # isoFLOP curves of a figure
_STYLE = {
    "font.size": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "text.parse_math": True,  # ticks of logarithmic axes are formulas
}


def check_format(name: str) -> None:
    """Reject a file ending that no figure can have.

    Raises:
      ConfigError: naming the endings that exist.

    Example:
      >>> check_format("gif")
      Traceback (most recent call last):
      jaxrec.core.errors.ConfigError: --plot cannot write 'gif'; endings: .png, .svg, .pdf
    """
    if name not in FORMATS:
        raise ConfigError(
            f"--plot cannot write {name!r}; endings: {', '.join('.' + one for one in FORMATS)}"
        )


def draw_fit(
    fit: Fit, points: Points, frontier: Frontier | None = None, kind: str = "png"
) -> bytes:
    """Draw the points and the law that was fitted to them.

    Args:
      fit: what `fit_law`, `isoflop` or `envelope` found.
      points: what it was fitted to.
      frontier: of `isoflop` and `envelope`.
      kind: "png", "svg" or "pdf".

    Returns:
      The contents of the file.

    Raises:
      ConfigError: another kind.
    """
    check_format(kind)
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(10, 4.4), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2)
        if frontier is not None:
            _frontier_losses(left, points, frontier)
            _frontier_line(right, fit, frontier)
        elif fit.law in ("chinchilla", "kaplan"):
            law = _law(fit)
            _isoflop_curves(left, law, points)
            n, d = points.need("params", "tokens")
            _predictions(right, law.loss(n, d), points.loss)
        elif fit.law == "kaplan-steps":
            law = _law(fit)
            n, s = with_min_steps(points)[0].need("params", "steps")
            _against(left, n, points.loss, "parameters N")
            _predictions(right, law.loss(n, s), points.loss)
        else:
            _power_law(left, right, fit, points)
        figure.suptitle(f"{fit.law}, {fit.points} points, R² {fit.r_squared:.4f}")
        stream = io.BytesIO()
        metadata = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
        figure.savefig(stream, format=kind, dpi=110, metadata=metadata[kind])
    return stream.getvalue()


def _law(fit: Fit) -> Any:
    v = fit.values
    if fit.law == "chinchilla":
        return Chinchilla(**{name: v[name] for name in ("E", "A", "B", "alpha", "beta")})
    if fit.law == "kaplan":
        return KaplanJoint(alpha_n=v["alpha_N"], alpha_d=v["alpha_D"], n_c=v["N_c"], d_c=v["D_c"])
    return KaplanSteps(alpha_n=v["alpha_N"], alpha_s=v["alpha_S"], n_c=v["N_c"], s_c=v["S_c"])


def _colors(count: int) -> Any:
    import matplotlib

    return matplotlib.colormaps["viridis"](np.linspace(0, 0.9, count))


def _isoflop_curves(axes: Any, law: Any, points: Points) -> None:
    """Losses by size; curves of the law at even steps of ln C, each with its minimum."""
    n, c = points.need("params", "flops")
    span = np.geomspace(c.min(), c.max(), _CURVES)
    colors = _colors(_CURVES)
    near = np.abs(np.log(c)[:, None] - np.log(span)).argmin(1)
    axes.scatter(n, points.loss, s=10, c=colors[near], edgecolors="none")
    sizes = np.geomspace(n.min(), n.max(), 200)
    for budget, color in zip(span, colors, strict=True):
        losses = law.loss(sizes, budget / (6 * sizes))
        # A small budget spread over a large model is far above all points.
        shown = losses < 1.05 * points.loss.max()
        axes.plot(sizes[shown], losses[shown], color=color, linewidth=1, label=f"{budget:.1e} FLOP")
        best = losses.argmin()
        if 0 < best < len(sizes) - 1:
            axes.plot(sizes[best], losses[best], marker="x", color=_INK, markersize=5)
    axes.set_ylim(0.98 * points.loss.min(), 1.03 * points.loss.max())
    axes.set_title("isoFLOP curves and their minima")
    axes.legend(fontsize=7, loc="upper right", framealpha=0.9, edgecolor="none")
    _label(axes, "parameters N", "loss", log="x")


def _predictions(axes: Any, predicted: np.ndarray, loss: np.ndarray) -> None:
    axes.scatter(predicted, loss, s=10, color=_BLUE, edgecolors="none")
    ends = [min(predicted.min(), loss.min()), max(predicted.max(), loss.max())]
    axes.plot(ends, ends, color=_INK, linewidth=1, linestyle="--")
    axes.set_title("measured against predicted")
    _label(axes, "predicted loss", "measured loss", log="")


def _against(axes: Any, x: np.ndarray, loss: np.ndarray, name: str) -> None:
    axes.scatter(x, loss, s=12, color=_BLUE, edgecolors="none")
    _label(axes, name, "loss", log="xy")


def _power_law(left: Any, right: Any, fit: Fit, points: Points) -> None:
    law = LAWS[fit.law]
    (axis,) = law.axes
    (x,) = points.need(axis)
    _against(left, x, points.loss, _NAMES[axis])
    # In logarithms the law is a line, whose slope and height the constants give.
    theta = np.polyfit(np.log(x), np.log(points.loss), 1)
    span = np.geomspace(x.min(), x.max(), 100)
    left.plot(span, np.exp(np.polyval(theta, np.log(span))), color=_BROWN, linewidth=1)
    left.set_title(law.formula)
    _predictions(right, np.exp(np.polyval(theta, np.log(x))), points.loss)


def _frontier_losses(axes: Any, points: Points, frontier: Frontier) -> None:
    (n,) = points.need("params")
    if frontier.parabolas:
        for one, color in zip(frontier.parabolas, _colors(len(frontier.parabolas)), strict=True):
            rows = one.rows
            axes.scatter(n[rows], points.loss[rows], s=10, color=[color], edgecolors="none")
            x = np.linspace(np.log(n[rows]).min(), np.log(n[rows]).max(), 60)
            y = np.polyval(one.p[::-1], x - one.centre)
            axes.plot(np.exp(x), y, color=color, linewidth=1)
            axes.plot(one.params, one.loss, marker="x", color=_INK, markersize=5)
        axes.set_title("losses at each budget, and parabolas")
        _label(axes, "parameters N", "loss", log="x")
        return
    (c,) = points.need("flops")
    axes.scatter(c, points.loss, s=4, color=_BLUE, edgecolors="none")
    axes.plot(frontier.flops, frontier.loss, color=_BROWN, linewidth=1.5, label="lowest")
    axes.legend(frameon=False)
    axes.set_title("training curves and their envelope")
    _label(axes, "FLOP", "loss", log="x")


def _frontier_line(axes: Any, fit: Fit, frontier: Frontier) -> None:
    axes.scatter(frontier.flops, frontier.params, s=12, color=_BLUE, edgecolors="none")
    span = np.geomspace(frontier.flops.min(), frontier.flops.max(), 50)
    axes.plot(span, fit.values["k"] * span ** fit.values["a"], color=_BROWN, linewidth=1)
    axes.set_title(f"optimal size, N* ∝ C^{fit.values['a']:.3f}")
    _label(axes, "FLOP", "optimal parameters N*", log="xy")


def _label(axes: Any, x: str, y: str, *, log: str) -> None:
    if "x" in log:
        axes.set_xscale("log")
    if "y" in log:
        axes.set_yscale("log")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(color="#eeeeee")
