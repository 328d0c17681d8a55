"""A figure of how evenly item IDs use their codes: one panel per level, and one over all levels.

Shapes: `I` items, `L` levels, `C` codes a level.
"""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_COLUMNS = 4
_PANELS = 16  # only the first levels have their own panels; the last panel shows all levels
_BLUE, _GREEN, _BROWN, _INK = "#0b57b0", "#17683a", "#9a4f00", "#444444"


def code_use_png(
    codes: np.ndarray,
    sizes: Sequence[int],
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    title: str,
) -> bytes:
    """Draw how item IDs use their codes.

    Args:
      codes: IDs, int [I, L]; a shorter ID is padded with -1.
      sizes: C of each level.
      before: `ids.code_statistics` before collision repair; it may have fewer levels.
      after: `ids.code_statistics` of `codes`.
      title: title of the figure.

    Returns:
      The contents of a PNG file.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = min(len(sizes), _PANELS)
    columns = min(panels, _COLUMNS)
    rows = -(-panels // columns)
    style = {
        "font.size": 9,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "text.parse_math": False,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(3.2 * max(columns, 2), 2.4 * rows + 3.8), layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(title)
        grid = figure.add_gridspec(rows + 1, columns, height_ratios=[*[2.2] * rows, 3.2])
        for level in range(panels):
            axes = figure.add_subplot(grid[level // columns, level % columns])
            _level(axes, codes[:, level], level, sizes[level])
        _levels(figure.add_subplot(grid[rows, :]), sizes, before, after)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=110, metadata={"Software": None})
    return stream.getvalue()


def _level(axes: Any, codes: np.ndarray, level: int, size: int) -> None:
    """Number of items of each code of a level, most used first, compared to a uniform use."""
    codes = codes[codes >= 0]
    counts = np.sort(np.bincount(codes, minlength=size))[::-1]
    axes.stairs(counts, np.arange(size + 1) + 0.5, fill=True, color=_BLUE)
    axes.axhline(len(codes) / size, color=_INK, linewidth=1, linestyle="--", label="even")
    axes.set_title(f"level {level}: {(counts > 0).sum():,} of {size:,} codes, {len(codes):,} items")
    axes.set_xlim(0.5, size + 0.5)
    axes.set_ylim(0, 1.25 * counts[0])
    axes.locator_params(axis="both", nbins=5, integer=True)
    if size <= 5:
        axes.set_xticks(range(1, size + 1))
    axes.set_xlabel("codes, most used first")
    axes.set_ylabel("items")
    axes.legend(frameon=False, loc="upper right")


def _levels(
    axes: Any, sizes: Sequence[int], before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    """Utilization, entropy and collisions of all levels; dashed lines are before repair."""
    limits = [max(math.log2(size), 1e-9) for size in sizes]
    figures = (
        ("utilization: codes in use", _BLUE, "o", "utilization", None),
        ("entropy as a share of its maximum", _GREEN, "s", "entropy", limits),
        ("items that share their ID up to here", _BROWN, "D", "prefix_collision_share", None),
    )
    for label, color, marker, name, over in figures:
        for statistics, line in ((after, "-"), (before, "--")):
            values = np.array(statistics[name])
            if over is not None:
                # A level with a single code is perfectly even.
                limit = np.array(over[: len(values)])
                values = np.where(limit < 1e-6, 1.0, values / limit)
            axes.plot(
                np.arange(len(values)),
                values,
                color=color,
                marker=marker,
                markersize=4,
                linestyle=line,
                label=label if line == "-" else None,
            )
    axes.plot([], [], color=_INK, linestyle="--", label="before repair")
    axes.set_ylim(-0.03, 1.05)
    axes.set_xlim(-0.2, len(sizes) - 0.8)
    axes.set_xticks(range(len(sizes)))
    axes.set_xlabel("level")
    axes.set_ylabel("share")
    axes.set_title("all levels")
    axes.grid(axis="y", color="#dddddd")
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2)
