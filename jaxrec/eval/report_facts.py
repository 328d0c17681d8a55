"""What a report says about any system, and what it shows first: pure functions of plain data."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

# The row of a table that is the model itself.
MODEL = "model"
_HEADLINE = ("ndcg@10", "hr@10")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SystemFacts:
    """What the page and the model card say about a system, whatever the run.

    Attributes:
      name: what the system is, as the title says it.
      summary: one or two sentences on how it works, for the model card.
      tags: further tags of the model card.
      metric: the validation metric that ranks checkpoints, as `metrics.jsonl` names it after
        "valid/".
      has_ids: whether items have unique IDs, which get sections of their own.
      recommends: whether `jaxrec recommend` works.
      unit: what figures are means over and intervals resample; "users" for recommenders.
      variants: rows of the main table that are the model itself under other conditions, and so no
        baselines.
      score: the training metric that is drawn against "kl", the divergence from the reference; ""
        for none. A run without these metrics has no such figure.
      kl_budget: divergence at which training stops; 0 for no limit.
      python: how to use the model in Python, as lines of code in which "{folder}" is the run.

    Example:
      >>> SystemFacts(name="SASRec", has_ids=False).metric
      'ndcg@10'
    """

    name: str = "Recommender"
    summary: str = ""
    tags: tuple[str, ...] = ()
    metric: str = "ndcg@10"
    has_ids: bool = True
    recommends: bool = True
    unit: str = "users"
    variants: tuple[str, ...] = ()
    score: str = ""
    kl_budget: float = 0.0
    python: str = ""


def headline_of(rows: Mapping[str, Any]) -> tuple[str, ...]:
    """The metrics of the model that the page puts first: two, or fewer if it has fewer."""
    names = list(rows[MODEL]["metrics"]) if rows else list(_HEADLINE)
    ranking = [name for first in _HEADLINE for name in names if name.partition("|")[0] == first]
    return tuple(ranking or names[:2])


def validated_of(rows: Sequence[Mapping[str, Any]], metric: str) -> list[str]:
    """Names of the validation metrics to draw: up to four, that which ranks checkpoints first."""
    names = [key.removeprefix("valid/") for key in (rows[0] if rows else ())]
    if set(_HEADLINE) <= set(names):
        return list(_HEADLINE)
    return [metric, *(name for name in names if f"valid/{name}" in rows[0] and name != metric)][:4]


def further_tables(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All tables but the main one: a name, the metrics, and the values of each row by metric."""
    found = []
    for name, table in report.get("tables", {}).items():
        if table.get("rows", table) == report["rows"]:
            continue
        rows = {
            system: row["metrics"] if "rows" in table else row
            for system, row in table.get("rows", table).items()
        }
        metrics = list(dict.fromkeys(metric for row in rows.values() for metric in row))
        found.append({"name": name, "metrics": metrics, "values": rows})
    return found
