"""SASRec: self-attention over the vectors of the items that a user has met.

histories -> item vectors -> blocks -> product with the item vectors

(Kang and McAuley 2018, arXiv:1808.09781.) The same model is also a baseline of other systems. As a
system of its own it can be compared with any of them by `jaxrec compare`.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxrec.baselines import SasrecConfig, sequential
from jaxrec.core import Bound, MeshConfig, ShardingRules, is_writer, make_mesh
from jaxrec.data import Dataset, load_dataset, training_source
from jaxrec.eval import RunParts, SystemFacts, average
from jaxrec.runs import (
    METRIC,
    MODEL,
    TEST_FILE,
    Kept,
    Measured,
    Options,
    Recommendations,
    RecommendRequest,
    ScoringRanker,
    baseline_table,
    check_run,
    create_run,
    heading,
    is_run,
    left_out_lines,
    measure_baselines,
    protocol_of,
    rank_by_scores,
    rank_users,
    read_parts,
    read_training,
    recommend_by_scores,
    run_identity,
    table_lines,
    write_summary,
)
from jaxrec.systems.sasrec.config import SasrecRunConfig
from jaxrec.train import FitResult, Start, Validation, check_batch

CONFIG = SasrecRunConfig
FACTS = SystemFacts(
    name="SASRec",
    summary=(
        "Causal self-attention reads a user's history as item vectors and scores every item of the "
        "catalogue as the next one."
    ),
    tags=("sequential-recommendation",),
    has_ids=False,
)
_EXPORT = (
    "no class of transformers scores items by these vectors; to export a model of this kind, train "
    "a generative config with ids.scheme independent, which gives every item one token"
)
INSTEAD = {
    "fit_ids": "SASRec numbers the items and fits no IDs",
    "open_model": _EXPORT,
    "open_adapter": _EXPORT,
    "add_items": "SASRec has a vector for each item of its training and none for others",
}


def train(config: SasrecRunConfig, directory: Path, options: Options) -> None:
    """See `System`."""
    dataset = load_dataset(config.data)
    print(dataset)
    check_batch(config.train, make_mesh(MeshConfig()), ShardingRules())
    if is_run(directory):
        check_run(config, dataset, directory)
    if options.dry:
        histories = dataset.split.train.sequences()
        plan = sequential.plan_sequential(_model(config), histories, dataset.num_items)
        print(plan)
        plan.memory.check()
        return
    if not is_run(directory):
        create_run(config, dataset, None, directory)
    result, _ = _fit(config, dataset, directory)
    if is_writer():
        write_summary(directory, result)


def _model(config: SasrecRunConfig) -> SasrecConfig:
    """The network with the settings of its training."""
    return dataclasses.replace(config.model, train=config.train)


def _fit(config: SasrecRunConfig, dataset: Dataset, directory: Path) -> tuple[FitResult, Any]:
    """Train or resume; return the result, and the function from a batch to scores."""
    model = _model(config)
    items = dataset.num_items
    score = jax.jit(_scores(config, items))

    def validate(params: Any) -> dict[str, float]:
        scored = functools.partial(score, params)
        return average(rank_users(scored, dataset, "valid", config.decode, config.eval.ks))

    source = training_source(dataset, directory / "data")
    validation = Validation(validate, METRIC, (dataset.num_users, "user"))
    begin = Start(run=run_identity(directory))
    result = sequential.fit_sequential(model, source, items, validation, directory, start=begin)
    return result, functools.partial(score, result.params)


def evaluate(
    config: SasrecRunConfig, directory: Path, *, baselines: Sequence[str]
) -> dict[str, Any]:
    """See `System`; also writes `test.npz`.

    The main table follows the run's `decode.filter_seen`. A further table has the model alone under
    the opposite setting, because publications differ in it and few say which they use.
    """
    trained = _load(config, directory)
    dataset, measured = trained.dataset, trained.rank(config)
    measured.save(directory / TEST_FILE, protocol_of(config, dataset))
    others, left_out = measure_baselines(baselines, config, dataset, directory)
    systems = {MODEL: measured} | others
    decode = dataclasses.replace(config.decode, filter_seen=not config.decode.filter_seen)
    opposite = {MODEL: trained.rank(dataclasses.replace(config, decode=decode))}
    tables = [baseline_table(part, config) for part in (systems, opposite)]
    protocol = protocol_of(config, dataset)
    other = f"seen items {'kept' if config.decode.filter_seen else 'removed'}"
    return tables[0] | {
        "protocol": protocol,
        "left_out": left_out,
        "heading": heading(protocol),
        "tables": {other: tables[1]},
        "lines": [*left_out_lines(left_out), *table_lines(other, tables[1])],
    }


def rank(config: SasrecRunConfig, directory: Path) -> Measured:
    """See `System`."""
    return _load(config, directory).rank(config)


def recommend(
    config: SasrecRunConfig, directory: Path, request: RecommendRequest
) -> Recommendations:
    """See `System`.

    Raises:
      ConfigError: an unknown user, or more items than there are.
      DataError: not trained yet, or of other data.
    """
    trained = _load(config, directory)
    return recommend_by_scores(trained.score, trained.dataset, request)


def open_ranker(config: SasrecRunConfig, directory: Path, kept: Kept) -> ScoringRanker:
    """See `System`."""
    read_training(directory)  # A run that is not trained yet is named before anything is read.
    items = len(kept.items)
    return ScoringRanker(
        score=_scores(config, items),
        variables=_variables(config, items, directory),
        num_items=items,
        max_items=config.model.max_items,
    )


def report(config: SasrecRunConfig, directory: Path) -> RunParts:
    """See `System`."""
    return read_parts(config, directory, FACTS)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class _Trained:
    """A trained run: its data, what scores a batch, its size, and the seconds of its training."""

    dataset: Dataset
    score: Callable[..., jax.Array]
    parameters: int
    seconds: float

    def rank(self, config: SasrecRunConfig) -> Measured:
        """Rank the test targets under the protocol of a config."""
        return rank_by_scores(self.score, config, self.dataset, self.parameters, self.seconds)


def _load(config: SasrecRunConfig, directory: Path) -> _Trained:
    """Open a trained run.

    Raises:
      DataError: not trained yet, or of other data.
    """
    dataset = load_dataset(config.data)
    check_run(config, dataset, directory)
    seconds = read_training(directory)["seconds"]
    variables = _variables(config, dataset.num_items, directory)
    score = functools.partial(jax.jit(_scores(config, dataset.num_items)), variables)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    return _Trained(dataset=dataset, score=score, parameters=parameters, seconds=seconds)


def _scores(config: SasrecRunConfig, items: int) -> Callable[..., jax.Array]:
    """The function from variables and a batch to scores of all items."""
    return Bound.of(sequential.scores, config=_model(config), num_items=items)


def _variables(config: SasrecRunConfig, items: int, directory: Path) -> Any:
    """Read the best checkpoint of a run."""
    start = Start(run=run_identity(directory))
    return sequential.load_sequential(_model(config), items, directory, start=start)
