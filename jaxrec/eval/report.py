"""The report of a run as one HTML file, and its model card: pure functions of plain data.

The page is self-contained: figures are inline SVG, and there are no scripts, fonts or images to
fetch.

Shapes: `I` items, `L` levels.
"""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
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
from jaxrec.eval.report_figures import (
    divergence_figures,
    learning_figures,
    level_figure,
    systems_figure,
)

# Keys that every `eval.json` must have for the page.
REPORT_KEYS = ("rows", "comparisons", "protocol")
_LEVEL = 0.05  # significance level of a paired test, after Holm's correction


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
        "systems": [systems_figure(report["rows"], metric) for metric in context["headline"]]
        if report
        else [],
        "learning": learning_figures(parts.metrics, context["validated"], context["best"]),
        "divergence": divergence_figures(parts.metrics, parts.system.score, parts.system.kl_budget),
        "levels": [level_figure(level) for level in context["levels"]],
    }
    return _template("report.html.j2", autoescape=True).render(**context, figures=figures)


def model_card(parts: RunParts, usage: str = "") -> str:
    """Return a model card in Markdown: model, data and licence, results, use and settings.

    Args:
      parts: of a run.
      usage: how to use an export of the run, in Markdown. The card then lies outside of the run: it
        also lists the metrics for the Hub of Hugging Face, and shows names of files without their
        directories.

    Example:
      >>> card = model_card(RunParts(run="runs/a", config={"data": {"name": "ml-100k"}}))
      >>> "# Recommender on ml-100k" in card
      True
    """
    context = _context(parts)
    if usage:
        context["settings"] = [(name, _file_name(value)) for name, value in context["settings"]]
    return _template("model_card.md.j2", autoescape=False).render(usage=usage, **context)


def _file_name(value: str) -> str:
    """A setting without the directories of a path, which are nobody's business elsewhere."""
    return PurePath(value).name if PurePath(value).is_absolute() else value


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
