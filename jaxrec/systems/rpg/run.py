"""RPG: long IDs whose codes are all predicted at once, without a search token by token.

texts -> whitened vectors -> OPQ codes -> mean of code embeddings -> causal decoder -> heads

(Hou et al., KDD 2025, arXiv:2506.05781.) An ID has 16 to 64 codes without an order. A head for each
place predicts its code, all of them at once, so that nothing is generated step by step. An item's
score is the mean log-probability of its codes. The catalogue is ranked exactly, in chunks of items,
or by a walk over a graph of similar items (`--ranking graph`), whose cost does not depend on the
size of the catalogue. The walk begins at items spread over clusters, and its edges also lead to
items that are nobody's near neighbour; the published walk begins at ten random items.
`--model.repeat-bias` learns whether people come back to an item, which codes alone cannot say.
`jaxrec eval` reports how much of the exact ranking both walks find, and how many items share all
codes and therefore tie.
"""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import (
    LOCAL,
    ConfigError,
    Engine,
    MeshConfig,
    ShardingRules,
    is_writer,
    make_mesh,
)
from jaxrec.data import Dataset, load_dataset
from jaxrec.decode import recall
from jaxrec.eval import RunParts, SystemFacts, average, list_metrics
from jaxrec.ids import ItemCodes
from jaxrec.runs import (
    MODEL,
    TEST_FILE,
    Asked,
    Kept,
    Measured,
    Options,
    Recommendations,
    RecommendRequest,
    baseline_table,
    check_run,
    create_run,
    heading,
    is_run,
    known_items,
    left_out_lines,
    listed,
    load_codes,
    measure_baselines,
    protocol_of,
    rank_by_scores,
    read_parts,
    read_training,
    table_lines,
    with_filter_seen,
    write_summary,
)
from jaxrec.systems.rpg import codes as item_codes, training
from jaxrec.systems.rpg.config import PUBLISHED_GRAPH, RpgConfig
from jaxrec.systems.rpg.ranker import RpgRanker, make_graph
from jaxrec.systems.rpg.training import Trained
from jaxrec.train import check_batch

CONFIG = RpgConfig
FACTS = SystemFacts(
    name="RPG",
    summary=(
        "Items are long IDs of text codes. A decoder reads a history as means of code embeddings, "
        "and predicts all codes of the next item at once."
    ),
    tags=("sequential-recommendation", "generative-retrieval"),
    # Its IDs may collide, and the sections about IDs are of unique ones.
    has_ids=False,
)
_EXPORT = (
    "no class of transformers predicts codes in parallel; to export a recommender, train a "
    "generative config"
)
INSTEAD = {
    "open_model": _EXPORT,
    "open_adapter": _EXPORT,
    "add_items": "add the items to the data, and train again",
}


def fit_ids(
    config: RpgConfig, directory: Path, engine: Engine = LOCAL
) -> tuple[Dataset, ItemCodes]:
    """See `System`.

    Raises:
      ConfigError: an engine with workers, which have nothing to do here; or see `fit_codes`.
    """
    if engine is not LOCAL:
        raise ConfigError(
            "RPG encodes texts and assigns codes in one process; leave out --engine and --workers"
        )
    dataset = load_dataset(config.data)
    codes = _codes(config, dataset, directory)
    if not is_run(directory):
        create_run(config, dataset, codes, directory)
    return dataset, codes


def describe_ids(codes: ItemCodes) -> Sequence[str]:
    """See `System`."""
    return item_codes.describe(codes)


def train(config: RpgConfig, directory: Path, options: Options) -> None:
    """See `System`."""
    dataset = load_dataset(config.data)
    print(dataset)
    check_batch(config.train, make_mesh(MeshConfig()), ShardingRules())
    codes = _codes(config, dataset, directory)
    print("\n".join(item_codes.describe(codes)))
    plan = training.plan(config, dataset, codes)
    print(plan)
    plan.memory.check()
    if options.dry:
        return
    if not is_run(directory):
        create_run(config, dataset, codes, directory)
    result = training.fit(config, dataset, codes, directory)
    if is_writer():
        write_summary(directory, result)


def _codes(config: RpgConfig, dataset: Dataset, directory: Path) -> ItemCodes:
    """Fit the IDs of a new run, or read those of an existing one."""
    if is_run(directory):
        check_run(config, dataset, directory)
        return load_codes(directory)
    return item_codes.fit_codes(config.codes, dataset)


def evaluate(config: RpgConfig, directory: Path, *, baselines: Sequence[str]) -> dict[str, Any]:
    """See `System`; also writes `test.npz`.

    The main table follows the run's `decode.filter_seen`, and a further one has the model under the
    opposite setting. Both rank exactly, and tied scores get their mean rank. "graph" compares the
    walk with the exact ranking: with the run's settings, and with the published ones.
    """
    trained, dataset, seconds = _load(config, directory)
    measured = _measure(trained, config, dataset, seconds)
    protocol = protocol_of(config, dataset)
    measured.save(directory / TEST_FILE, protocol)
    others, left_out = measure_baselines(baselines, config, dataset, directory)
    table = baseline_table({MODEL: measured} | others, config)
    flipped = with_filter_seen(config, not config.decode.filter_seen)
    opposite = baseline_table({MODEL: _measure(trained, flipped, dataset, seconds)}, config)
    other = f"seen items {'kept' if config.decode.filter_seen else 'removed'}"
    graph = _compare_graph(config, trained, dataset)
    codes = load_codes(directory)
    return table | {
        "protocol": protocol,
        "left_out": left_out,
        "heading": heading(protocol),
        "tables": {other: opposite},
        "ids": codes.metadata,
        "graph": graph,
        "lines": [
            *left_out_lines(left_out),
            *table_lines(other, opposite),
            *item_codes.describe(codes),
            *(_graph_line(name, row) for name, row in graph.items()),
        ],
    }


def _compare_graph(config: RpgConfig, trained: Trained, dataset: Dataset) -> dict[str, Any]:
    """Recall of the walk, its metrics, and the seconds of both rankings; by the walk's settings."""
    histories, targets = dataset.split.history("test"), dataset.split.target("test")
    removed = config.decode.removed(histories, targets)
    asked, top = Asked(histories=histories, excluded=removed), max(config.eval.ks)
    ranker = _ranker(config, trained.variables)
    (exact, _), exact_seconds = _timed(dataclasses.replace(ranker, ranking="exact"), asked, top)
    rows = {}
    for name, settings in (("graph", config.graph), ("graph, as published", PUBLISHED_GRAPH)):
        graph = make_graph(settings, trained.variables, config.train.seed)
        walker = dataclasses.replace(ranker, ranking="graph", graph=graph, config=settings)
        (found, _), seconds = _timed(walker, asked, top)
        metrics = average(list_metrics(found, targets, config.eval.ks))
        rows[name] = {
            "recall": float(recall(found, exact).mean()),
            "metrics": metrics,
            "seconds": seconds,
            "exact_seconds": exact_seconds,
        }
    return rows


def _timed(
    ranker: RpgRanker, asked: Asked, top: int
) -> tuple[tuple[np.ndarray, np.ndarray], float]:
    """Lists of all users, and the seconds they took once most shapes were compiled."""
    ranker.best(asked.take(np.arange(min(len(asked), ranker.batch_size))), top)
    started = time.monotonic()
    found = ranker.best(asked, top)
    return found, time.monotonic() - started


def _graph_line(name: str, row: dict[str, Any]) -> str:
    figures = ", ".join(f"{metric} {value:.4f}" for metric, value in row["metrics"].items())
    return (
        f"{name}: {row['recall']:.1%} of the exact list; {figures}; {row['seconds']:.1f} s for all "
        f"users (exact {row['exact_seconds']:.1f} s)"
    )


def rank(config: RpgConfig, directory: Path, filter_seen: bool | None = None) -> Measured:
    """See `System`."""
    trained, dataset, seconds = _load(config, directory)
    return _measure(trained, with_filter_seen(config, filter_seen), dataset, seconds)


def _measure(trained: Trained, config: RpgConfig, dataset: Dataset, seconds: float) -> Measured:
    return rank_by_scores(trained.score, config, dataset, trained.parameters, seconds)


def recommend(config: RpgConfig, directory: Path, request: RecommendRequest) -> Recommendations:
    """See `System`.

    Raises:
      ConfigError: an unknown user.
      DataError: not trained yet, or of other data.
    """
    trained, dataset, _ = _load(config, directory)
    ranker = _ranker(config, trained.variables)
    _, history = known_items(dataset, request)
    excluded = None if request.include_seen else [history]
    asked = Asked(histories=[history], excluded=excluded)
    (items,), (scores,) = ranker.best(asked, min(request.top, ranker.num_items))
    return listed(
        request,
        dataset.interactions.items.labels(),
        history,
        items,
        scores,
        score=ranker.meaning,
        codes=load_codes(directory).codes,
    )


def open_ranker(config: RpgConfig, directory: Path, kept: Kept) -> RpgRanker:
    """See `System`."""
    del kept
    read_training(directory)  # A run that is not trained yet is named before anything is read.
    codes = load_codes(directory)
    return _ranker(config, training.load_variables(config, codes, directory))


def report(config: RpgConfig, directory: Path) -> RunParts:
    """See `System`."""
    return read_parts(config, directory, FACTS)


def _ranker(config: RpgConfig, variables: Any) -> RpgRanker:
    """The ranker of a run, with its graph if it ranks by it."""
    graph = None
    if config.ranking == "graph":
        graph = make_graph(config.graph, variables, config.train.seed)
    return RpgRanker(
        network=training.make_network(config),
        variables=variables,
        config=config.graph,
        graph=graph,
        ranking=config.ranking,
    )


def _load(config: RpgConfig, directory: Path) -> tuple[Trained, Dataset, float]:
    """Open a trained run: its network, its data, and the seconds of its training.

    Raises:
      DataError: not trained yet, or of other data.
    """
    dataset = load_dataset(config.data)
    check_run(config, dataset, directory)
    seconds = read_training(directory)["seconds"]
    variables = training.load_variables(config, load_codes(directory), directory)
    return Trained(training.make_network(config), variables), dataset, seconds
