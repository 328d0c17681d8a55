"""Why metrics differ between the validation and the test items of a leave-one-out split.

    python tools/bench valid_test [RUN ...] [--data amazon-beauty] [--filter-seen]

Each RUN is a directory of SASRec or HSTU; without one, decayed co-occurrence counts are measured
alone. Both stages are ranked by the same model, and users are put into groups by how often training
histories have the target, and by whether they have it near an item of the user's history. With p
the share of a group among the users and m its metric,

    test - validation  =  sum (p_test - p_valid) m_valid  +  sum p_test (m_test - m_valid)

The first sum is what other targets cost at equal skill: by the last interaction of a user, new
items have come up that training knows less of. The second is what is lost within groups: the last
known item is older, and tastes have moved on. Seen items are kept unless the option removes them.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro
from support.table import Table

from jaxrec.baselines import cooccurrence
from jaxrec.data import DataConfig, Dataset, load_dataset
from jaxrec.runs import (
    RankConfig,
    fit_baseline,
    load_run,
    open_kept,
    rank_users,
    sequential_run,
)

# Lower ends of the groups of training counts.
_COUNTS = (0, 1, 5, 10, 20, 50)
# Items of a history, the newest, near which a target is looked for, as the counts do.
_NEWEST = 10
METRICS = ("hr@10", "ndcg@10")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
      runs: directories of trained runs of SASRec or HSTU.
      data: a data set, unless runs are given.
      filter_seen: remove seen items.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    data: str = "amazon-beauty"
    filter_seen: bool = False


def groups(dataset: Dataset, stage: Any) -> tuple[np.ndarray, np.ndarray]:
    """The group of each user's target by its training count, and whether counts can find it."""
    train = dataset.split.train.sequences()
    counts = np.bincount(dataset.split.train.item, minlength=dataset.num_items)
    target = dataset.split.target(stage)
    table = cooccurrence.fit(train, dataset.num_items, sparse=True)["follows"].tocsr()
    known = [
        bool(table[history[-_NEWEST:], item].sum() > 0)
        for history, item in zip(dataset.split.history(stage), target.tolist(), strict=True)
    ]
    return np.searchsorted(_COUNTS, counts[target], side="right") - 1, np.array(known)


def explain(
    values: Mapping[str, np.ndarray], group: Mapping[str, np.ndarray], number: int
) -> dict[str, float]:
    """Split the difference of a metric into the two sums of the module docstring.

    Args:
      values: the metric of each user, by stage.
      group: the group of each user, by stage.
      number: of groups.
    """
    share, mean = {}, {}
    for stage in ("valid", "test"):
        size = np.bincount(group[stage], minlength=number)
        share[stage] = size / size.sum()
        total = np.bincount(group[stage], weights=values[stage], minlength=number)
        mean[stage] = total / np.maximum(size, 1)
    return {
        "valid": float(values["valid"].mean()),
        "test": float(values["test"].mean()),
        "by_targets": float(((share["test"] - share["valid"]) * mean["valid"]).sum()),
        "within": float((share["test"] * (mean["test"] - mean["valid"])).sum()),
    }


def show(cells: Sequence[str], head: bool = False) -> None:
    """Print a row of a Markdown table."""
    print("| " + " | ".join(cells) + " |", flush=True)
    if head:
        print("|---" * len(cells) + "|")


def run(options: Options) -> Table:
    """Measure each model on both stages."""
    configs = {path.name: (path, load_run(path)) for path in options.runs}
    first = next((config for _, config in configs.values()), None)
    data = first.data if first else DataConfig(name=options.data, min_count=0)
    dataset = load_dataset(data)
    decode = RankConfig(filter_seen=options.filter_seen)
    counted, _ = fit_baseline("cooccurrence", None, dataset, Path("unused"))
    scores = {"cooccurrence": counted}
    for name, (path, config) in configs.items():
        ranker = sequential_run.open_ranker(config, path, open_kept(config, path))
        scores[name] = functools.partial(jax.jit(ranker.score), ranker.variables)
    by_count, by_known, joint = {}, {}, {}
    for stage in ("valid", "test"):
        by_count[stage], by_known[stage] = groups(dataset, stage)
        joint[stage] = 2 * by_count[stage] + by_known[stage]
    facts = {
        stage: {
            "never_met": float((by_count[stage] == 0).mean()),
            "met_below_5": float((by_count[stage] <= 1).mean()),
            "met_50_or_more": float((by_count[stage] == len(_COUNTS) - 1).mean()),
            "near_the_history": float(by_known[stage].mean()),
        }
        for stage in by_count
    }
    show(["targets", *(name.replace("_", " ") for name in facts["test"])], head=True)
    for stage, row in facts.items():
        show([stage, *(f"{value:.3f}" for value in row.values())])
    print()
    rows: dict[str, Any] = {}
    show(["model", "metric", "validation", "test", "by targets", "within"], head=True)
    for name, score in scores.items():
        found = {stage: rank_users(score, dataset, stage, decode, (10,)) for stage in by_count}
        for metric in METRICS:
            values = {stage: found[stage][metric] for stage in found}
            parts = rows[f"{name} {metric}"] = explain(values, joint, 2 * len(_COUNTS))
            shown = [f"{parts[part]:.4f}" for part in ("valid", "test")]
            shown += [f"{parts[part]:+.4f}" for part in ("by_targets", "within")]
            show([name, metric.upper(), *shown])
    return Table({"targets": facts, "rows": rows})
