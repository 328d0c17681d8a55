"""The figures of a report as inline SVG: pure functions of plain data.

Figures are drawn in placeholder colors that become CSS variables, so they follow the reader's light
or dark setting like the text around them.
"""

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxrec.eval.report_facts import MODEL

_POINTS = 500  # points on a curve; more are indistinguishable and make the file large
# Placeholder color to CSS variable. Black cannot be one, because matplotlib omits a black fill.
_COLORS = {
    "#010101": "--ink",
    "#020202": "--muted",
    "#030303": "--rule",
    "#040404": "--accent",
    "#050505": "--hit",
    "#060606": "--third",
    "#070707": "--fourth",
}
_INK, _MUTED, _RULE, *_SERIES = _COLORS
_DASHES = ("-", "--", "-.", ":")


def systems_figure(rows: Mapping[str, Any], metric: str) -> str:
    """One metric of all systems as dots with interval whiskers, in the order of the table."""
    values = {
        name: (row["metrics"][metric], *row["intervals"][metric])
        for name, row in rows.items()
        if metric in row["metrics"]
    }

    def draw(axes: Any) -> None:
        for place, (name, (value, low, high)) in enumerate(values.items()):
            color, marker = (_SERIES[0], "D") if name == MODEL else (_MUTED, "o")
            axes.plot([low, high], [place, place], color=color, linewidth=1.6)
            axes.plot([value], [place], color=color, marker=marker, markersize=7)
        axes.set_yticks(range(len(values)), list(values))
        axes.set_ylim(len(values) - 0.5, -0.5)
        axes.set_xlim(left=0)
        axes.set_title(metric.upper())
        axes.grid(axis="x")

    label = "; ".join(
        f"{name} {v:.4f}, from {a:.3f} to {b:.3f}" for name, (v, a, b) in values.items()
    )
    return _svg(f"systems-{metric}", f"{metric.upper()} with 95 % intervals: {label}", draw)


def learning_figures(
    metrics: Sequence[Mapping[str, Any]], validated: Sequence[str], best: int | None
) -> list[str]:
    """Training loss, total and by level, and validation metrics; both mark the best step."""
    losses = [row for row in metrics if "loss" in row]
    validations = [row for row in metrics if validated and f"valid/{validated[0]}" in row]
    figures = []
    for name, title, rows, keys in (
        ("loss", "Training loss (nats)", losses, _loss_names(losses)),
        ("validation", "Validation", validations, ["valid/" + name for name in validated]),
    ):
        if not rows:
            continue
        # Thinning starts from the end, so that the last row stays.
        shown = rows[:: -max(1, math.ceil(len(rows) / _POINTS))][::-1]

        def draw(axes: Any, shown: Any = shown, keys: Any = keys, title: str = title) -> None:
            marker = "o" if len(shown) < 40 else ""
            for place, key in enumerate(keys):
                axes.plot(
                    [row["step"] for row in shown],
                    [row.get(key, math.nan) for row in shown],
                    color=_SERIES[place % len(_SERIES)],
                    linestyle=_DASHES[place % len(_DASHES)],
                    marker=marker,
                    markersize=3,
                    label=_series_name(key),
                )
            if best is not None:
                axes.axvline(
                    best, color=_INK, linewidth=1, linestyle=(0, (2, 3)), label="best step"
                )
            axes.set_title(title)
            axes.set_xlabel("step")
            axes.locator_params(axis="x", integer=True)
            axes.grid(axis="y")
            axes.legend(frameon=False, ncols=2 if len(keys) < 4 else 3)

        first, last = shown[0], shown[-1]
        label = "; ".join(
            f"{_series_name(key)} from {first.get(key, math.nan):.4f} at step {first['step']} to "
            f"{last.get(key, math.nan):.4f} at step {last['step']}"
            for key in keys
        )
        note = "" if best is None else f"; best step {best}"
        figures.append(_svg(f"learning-{name}", f"{title}: {label}{note}", draw))
    return figures


def _loss_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    levels = {name for row in rows for name in row if name.startswith("loss/level_")}
    return ["loss", *sorted(levels, key=lambda name: int(name.rpartition("_")[2]))]


def _series_name(key: str) -> str:
    if key == "loss":
        return "total"
    return key.removeprefix("loss/").replace("_", " ") if "loss" in key else key[6:].upper()


def divergence_figures(
    metrics: Sequence[Mapping[str, Any]], score: str, budget: float = 0.0
) -> list[str]:
    """Score against the divergence from the reference over training: one figure, or none.

    A policy pays for its score with divergence, and a reward that only stands in for what is wanted
    is exploited far from the reference (Gao et al. 2023, arXiv:2210.10760, figure 1).

    Args:
      metrics: rows of `metrics.jsonl`; those with `score` and "kl" are drawn, later ones darker.
      score: name of the metric on the vertical axis; "" draws nothing.
      budget: divergence at which training stops; 0 for no limit.
    """
    points = [(row["step"], row["kl"], row[score]) for row in metrics if {score, "kl"} <= set(row)]
    # All steps on one rollout have its score.
    points = [p for n, p in enumerate(points) if not n or p[1:] != points[n - 1][1:]]
    points = points[:: -max(1, math.ceil(len(points) / _POINTS))][::-1]
    if not points:
        return []
    steps, kls, scores = zip(*points, strict=True)

    def draw(axes: Any) -> None:
        axes.plot(kls, scores, color=_RULE, linewidth=1)
        shades = np.linspace(0.25, 1.0, len(points))
        axes.scatter(kls, scores, s=20, color=_SERIES[0], alpha=shades, linewidths=0)
        ends = {0: ("left", (6, -12)), len(points) - 1: ("right", (-6, 8))}
        for place, (side, offset) in ends.items():
            axes.annotate(
                f"step {steps[place]}",
                (kls[place], scores[place]),
                xytext=offset,
                textcoords="offset points",
                ha=side,
                color=_INK,
            )
        if budget:
            axes.axvline(budget, color=_INK, linewidth=1, linestyle="--", label="KL budget")
            axes.legend(frameon=False)
        axes.set_title(f"{score.capitalize()} against KL")
        axes.set_xlabel("KL from the reference, nats")
        axes.set_ylabel(score)
        axes.margins(x=0.12, y=0.12)
        axes.grid(axis="y")

    course = " to ".join(
        f"{scores[place]:.4f} at a KL of {kls[place]:.4f} in step {steps[place]}"
        for place in (0, -1)
    )
    limit = f"; the KL budget is {budget:g}" if budget else ""
    label = f"{score.capitalize()} against KL: from {course}{limit}"
    return [_svg("divergence", label, draw)]


def level_figure(level: Mapping[str, Any]) -> str:
    """Number of items of each code of a level, most used first, compared to a uniform use."""
    counts = level["counts"]
    even = counts.sum() / level["size"]

    def draw(axes: Any) -> None:
        # The counts are sorted, so a subset of them shows the shape of all.
        edges = np.linspace(0, len(counts), min(len(counts), _POINTS) + 1).astype(int)
        axes.stairs(counts[edges[:-1]], edges + 0.5, fill=True, color=_SERIES[0])
        axes.axhline(even, color=_INK, linewidth=1, linestyle="--", label="uniform use")
        axes.set_title(f"Level {level['level']}")
        axes.set_xlabel("codes, most used first")
        axes.set_ylabel("items")
        axes.set_xlim(0.5, len(counts) + 0.5)
        axes.set_ylim(0, 1.15 * counts[0])
        axes.grid(axis="y")
        axes.legend(frameon=False, loc="upper right")

    label = (
        f"Level {level['level']}: {level['used']} of {level['size']} codes are in use, the most "
        f"used by {counts[0]} items, the least used by {counts[-1]}; uniform use is {even:.1f}"
    )
    return _svg(f"level-{level['level']}", label, draw)


def _svg(name: str, label: str, draw: Callable[[Any], None]) -> str:
    """Draw one pair of axes; return inline SVG, safe in HTML, with `label` for screen readers.

    Figures are narrow, so that their text stays readable on a phone; pages place them side by side.
    """
    import matplotlib
    from markupsafe import Markup
    from matplotlib.figure import Figure

    style = {
        "svg.hashsalt": "jaxrec",
        "svg.fonttype": "none",
        "text.parse_math": False,
        "font.size": 12,
        "font.family": "DejaVu Sans",  # ships with matplotlib; replaced below
        "axes.axisbelow": True,
        "axes.edgecolor": _MUTED,
        "axes.labelcolor": _MUTED,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlecolor": _INK,
        "axes.titlelocation": "left",
        "axes.titlesize": 13,
        "grid.color": _RULE,
        "legend.fontsize": 11,
        "legend.labelcolor": _INK,
        "xtick.color": _MUTED,
        "ytick.color": _MUTED,
        "ytick.labelcolor": _INK,
    }
    stream = io.StringIO()
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(5.4, 3.4), layout="constrained")
        draw(figure.add_subplot())
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(stream, format="svg", transparent=True, metadata=metadata)
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    # The ids of the figures on a page must differ.
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(xlink:href="|url\()#', rf"\1#{name}-", svg)
    svg = re.sub(r"(?<=px )'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", svg)
    for color, variable in _COLORS.items():
        svg = svg.replace(color, f"var({variable})")
    box = re.search(r'viewBox="[^"]*"', svg)
    assert box is not None  # matplotlib always writes one
    head = Markup('<svg role="img" aria-label="{}" {}>').format(label, Markup(box[0]))
    # HTML knows SVG and xlink, so namespaces, which are addresses, need not be declared.
    return head + Markup(svg[svg.index(">") + 1 :])
