"""The report of a run as one HTML file, and its model card: pure functions of plain data.

The page is self-contained: figures are inline SVG, and there are no scripts, fonts or images to
fetch. Figures are drawn in placeholder colors that become CSS variables, so they follow the
reader's light or dark setting like the text around them.

Shapes: `I` items, `L` levels.
"""

import dataclasses
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import PurePath
from typing import Any

import numpy as np

from jaxrec.core import printable, quoted
from jaxrec.eval.comparison_table import seen_rule
from jaxrec.eval.report_facts import (
    MODEL,
    SystemFacts,
    further_tables,
    headline_of,
    validated_of,
)

# Keys that every `eval.json` must have for the page.
REPORT_KEYS = ("rows", "comparisons", "protocol")
_LEVEL = 0.05  # significance level of a paired test, after Holm's correction
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


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class RunParts:
    """The contents of a run directory; None or empty for parts that do not exist yet.

    Attributes:
      run: the directory, as commands name it.
      config: nested settings, as in `config.json`.
      system: what made the run.
      env: data facts, versions and devices, as in `env.json`.
      report: metrics, tests and samples, as in `eval.json`.
      metrics: rows of `metrics.jsonl`, by step.
      train: summary of the training, as in `train.json`.
      codes: item IDs, int [I, L]; a shorter ID is padded with -1.
      ids: "scheme", "sizes" (L numbers) and the statistics of the IDs.
      about: one line about the data set.
      homepage: address of the data set and its licence.
    """

    run: str
    config: Mapping[str, Any]
    system: SystemFacts = SystemFacts()
    env: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    report: Mapping[str, Any] | None = None
    metrics: Sequence[Mapping[str, Any]] = ()
    train: Mapping[str, Any] | None = None
    codes: np.ndarray | None = None
    ids: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    about: str = ""
    homepage: str = ""


def render(parts: RunParts) -> str:
    """Return the report as an HTML page; a missing part is replaced by the command that makes it.

    Equal parts give equal pages.

    Example:
      >>> page = render(RunParts(run="runs/a", config={"train": {"steps": 10}}))
      >>> "jaxrec eval runs/a" in page, "train.steps" in page
      (True, True)
    """
    context = _context(parts)
    report = parts.report
    figures = {
        "systems": [_systems_figure(report["rows"], metric) for metric in context["headline"]]
        if report
        else [],
        "learning": _learning_figures(parts.metrics, context["validated"], context["best"]),
        "levels": [_level_figure(level) for level in context["levels"]],
    }
    return _template("report.html.j2", autoescape=True).render(**context, figures=figures)


def model_card(parts: RunParts) -> str:
    """Return a model card in Markdown: model, data and licence, results, use and settings.

    Example:
      >>> card = model_card(RunParts(run="runs/a", config={"data": {"name": "ml-100k"}}))
      >>> "# Recommender on ml-100k" in card
      True
    """
    return _template("model_card.md.j2", autoescape=False).render(**_context(parts))


def settings(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Names and values of nested settings: [("train.steps", "2000"), ...]."""
    rows: list[tuple[str, str]] = []
    for name, value in config.items():
        if isinstance(value, Mapping):
            rows += settings(value, f"{prefix}{name}.")
        else:
            values = value if isinstance(value, list | tuple) else [value]
            shown = ", ".join("none" if v is None else str(v) for v in values)
            rows.append((prefix + name, shown))
    return rows


def _context(parts: RunParts) -> dict[str, Any]:
    """The variables of both templates."""
    report = parts.report
    rows: Mapping[str, Any] = report["rows"] if report else {}
    headline = headline_of(rows)
    names = list(rows[MODEL]["metrics"]) if rows else []
    names = [*headline, *sorted(set(names) - set(headline), key=_metric_order)] if rows else []
    own = {MODEL, *parts.system.variants}
    baselines = {name: row["metrics"] for name, row in rows.items() if name not in own}
    tests = {row["baseline"]: row for row in report["comparisons"]} if report else {}
    measured = [name for name in baselines if headline and headline[0] in baselines[name]]
    rival = max(measured, key=lambda name: baselines[name][headline[0]], default=None)
    ranked = f"valid/{parts.system.metric}"
    validations = [row for row in parts.metrics if ranked in row]
    # Among equal validations the last one is the best, as in `train.Checkpoints.best`.
    best = max(validations, key=lambda row: (row[ranked], row["step"]), default=None)
    facts = dict(parts.env.get("data", {})) | (dict(report["protocol"]) if report else {})
    return {
        "parts": parts,
        "report": report,
        "rows": rows,
        "metrics": names,
        "headline": headline,
        "validated": validated_of(validations, parts.system.metric),
        "tables": further_tables(report) if report else [],
        "top": {
            name: max(row["metrics"].get(name, -math.inf) for row in rows.values())
            for name in names
        },
        "rival": rival,
        "test": tests.get(rival),
        "facts": facts,
        "seen": seen_rule(facts) if "seen_items" in facts else "",
        "name": facts.get("dataset") or parts.config.get("data", {}).get("name", "unknown data"),
        "validations": validations,
        "best": best["step"] if best else None,
        "levels": _levels(parts),
        "text": _text(parts),
        "before": _before(parts),
        "settings": settings(parts.config),
        "folder": PurePath(parts.run).name or parts.run,
        "user": report["samples"][0]["user"] if report and report.get("samples") else "USER",
    }


def _metric_order(name: str) -> tuple[int, int, str]:
    """Sort by cut-off, longest list first, then NDCG before HR before others."""
    kind, _, cutoff = name.partition("@")
    return -int(cutoff.partition("|")[0] or 0), ("ndcg", "hr", kind).index(kind), name


def _before(parts: RunParts) -> Mapping[str, Any]:
    """Statistics of the IDs before collision repair."""
    statistics: Mapping[str, Any] = parts.ids.get("repair", {}).get("before", parts.ids)
    return statistics


def _levels(parts: RunParts) -> list[dict[str, Any]]:
    """How often each code of each level is used, most used first."""
    if parts.codes is None:
        return []
    before, key = _before(parts), "prefix_collision_share"
    levels = []
    for level, size in enumerate(parts.ids["sizes"]):
        column = parts.codes[:, level]
        counts = np.sort(np.bincount(column[column >= 0], minlength=size))[::-1]
        share = counts[counts > 0] / counts.sum()
        # + 0.0 turns the -0.0 of a single code into 0.0.
        entropy = float(-(share * np.log2(share)).sum() + 0.0)
        levels.append(
            {
                "level": level,
                "size": size,
                "counts": counts,
                "used": int((counts > 0).sum()),
                "entropy": entropy,
                "limit": math.log2(size),
                "perplexity": 2.0**entropy,
                "shared": [
                    facts[key][level] if level < len(facts.get(key, ())) else None
                    for facts in (before, parts.ids)
                ],
            }
        )
    return levels


def _text(parts: RunParts) -> dict[str, Any]:
    """The text encoder of the IDs as one sentence, and the results of each encoder."""
    encoders = (parts.report or {}).get("text_encoders")
    rows = encoders["rows"] if encoders else []
    facts = parts.ids.get("text")
    known = [*rows, facts] if facts else rows
    if not parts.ids:
        sentence = "The text encoder is not known until the item IDs are made."
    elif "text" not in parts.ids:
        sentence = "The run does not record which text encoder its item IDs use."
    elif facts is None:
        sentence = "The item IDs use no item texts."
    else:
        unit = "words and word pairs" if facts["directory"] is None else "sentences"
        wide = f", {facts['encoder_width']} wide" if facts["encoder_width"] else ""
        sentence = (
            f"The item IDs use item texts, encoded by {facts['encoder']} as vectors of "
            f"{unit}{wide}, and reduced to {facts['width']} columns by a truncated SVD."
        )
    return {
        "sentence": sentence,
        "encoders": encoders,
        "unused": "text" in parts.ids and facts is None,
        "sentences": any(row["directory"] is not None for row in known),
    }


def _template(name: str, *, autoescape: bool) -> Any:
    import jinja2

    environment = jinja2.Environment(
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "metric": str.upper,
        "signed": lambda value: f"{value:+.4f}".replace("-", "\u2212"),
        "seconds": lambda value: f"{value:,.0f}" if value >= 10 else f"{value:.2f}",
        "p": lambda value: "< 0.001" if value < 0.001 else f"{value:.3f}",
        "verdict": _verdict,
        "md": _markdown,
        "shell": quoted,
        "named": _named,
    }
    return environment.from_string(
        resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
    )


def _markdown(value: Any) -> str:
    """Return a text on one line, without anything that Markdown or a terminal acts on."""
    return re.sub(r"([\\`*{}\[\]<>|#])", r"\\\1", printable(" ".join(str(value).split())))


def _named(line: str, folder: str) -> str:
    """Put a folder into the strings of a line of Python that name `{folder}`."""

    def string(match: re.Match[str]) -> str:
        quote, safe = match[1], printable(folder) == folder and not set(folder) & set("\"'\\")
        return f"{quote}{folder}{quote}" if safe else ascii(folder)

    return re.sub(r"([\"']){folder}\1", string, line)


def _verdict(test: Mapping[str, Any]) -> str:
    if test["p_holm"] >= _LEVEL:
        return "no significant difference"
    return "model better" if test["difference"] > 0 else "model worse"


def _systems_figure(rows: Mapping[str, Any], metric: str) -> str:
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


def _learning_figures(
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


def _level_figure(level: Mapping[str, Any]) -> str:
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
