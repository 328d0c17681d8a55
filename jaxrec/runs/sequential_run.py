"""What a sequential baseline needs to be a system of its own; see `System` for each function.

The config of such a system has `data`, `model` (a `SequentialConfig`), `train`, `decode` and
`eval`, like those of SASRec and HSTU.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import jax

from jaxrec.baselines import SequentialConfig, sequential
from jaxrec.core import Bound, MeshConfig, ShardingRules, is_writer, make_mesh
from jaxrec.data import DataConfig, Dataset, load_dataset, training_source
from jaxrec.eval import average
from jaxrec.runs.baselines import measure_baselines, rank_by_scores
from jaxrec.runs.config import METRIC, BaselinesConfig, RankConfig, with_filter_seen
from jaxrec.runs.directory import (
    TEST_FILE,
    check_run,
    create_run,
    is_run,
    read_training,
    run_identity,
    write_summary,
)
from jaxrec.runs.kept import Kept
from jaxrec.runs.measured import Measured
from jaxrec.runs.protocol import heading, protocol_of, rank_users
from jaxrec.runs.requests import Recommendations, RecommendRequest, recommend_by_scores
from jaxrec.runs.scoring_ranker import ScoringRanker
from jaxrec.runs.system import Options
from jaxrec.runs.table import MODEL, baseline_table, left_out_lines, table_lines
from jaxrec.train import FitResult, Start, TrainConfig, Validation, check_batch


class SequentialRunConfig(Protocol):
    """The config of a sequential baseline that is a system of its own: a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def data(self) -> DataConfig:
        """Interactions."""

    @property
    def model(self) -> SequentialConfig:
        """The network and its objective."""

    @property
    def train(self) -> TrainConfig:
        """Optimizer and schedule."""

    @property
    def decode(self) -> RankConfig:
        """Which items a ranking leaves out."""

    @property
    def eval(self) -> BaselinesConfig:
        """Measurements."""


def train(config: SequentialRunConfig, directory: Path, options: Options) -> None:
    """See `System`."""
    dataset = load_dataset(config.data)
    print(dataset)
    check_batch(config.train, make_mesh(MeshConfig()), ShardingRules())
    if is_run(directory):
        check_run(config, dataset, directory)
    if options.dry:
        histories = dataset.split.train.sequences()
        plan = sequential.plan_sequential(
            _model(config), histories, dataset.num_items, times=dataset.train_times
        )
        print(plan)
        plan.memory.check()
        return
    if not is_run(directory):
        create_run(config, dataset, None, directory)
    result, _ = fit(config, dataset, directory)
    if is_writer():
        write_summary(directory, result)


def _model(config: SequentialRunConfig) -> SequentialConfig:
    """The network with the settings of its training."""
    return dataclasses.replace(config.model, train=config.train)


def fit(config: SequentialRunConfig, dataset: Dataset, directory: Path) -> tuple[FitResult, Any]:
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
    result = sequential.fit_sequential(
        model, source, items, validation, directory, start=begin, times=dataset.train_times
    )
    return result, functools.partial(score, result.params)


def evaluate(
    config: SequentialRunConfig, directory: Path, *, baselines: Sequence[str]
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
    opposite = {MODEL: trained.rank(with_filter_seen(config, not config.decode.filter_seen))}
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


def rank(config: SequentialRunConfig, directory: Path, filter_seen: bool | None = None) -> Measured:
    """See `System`."""
    return _load(config, directory).rank(with_filter_seen(config, filter_seen))


def recommend(
    config: SequentialRunConfig, directory: Path, request: RecommendRequest
) -> Recommendations:
    """See `System`.

    Raises:
      ConfigError: an unknown user, or more items than there are.
      DataError: not trained yet, or of other data.
    """
    trained = _load(config, directory)
    return recommend_by_scores(trained.score, trained.dataset, request)


def open_ranker(config: SequentialRunConfig, directory: Path, kept: Kept) -> ScoringRanker:
    """See `System`."""
    read_training(directory)  # A run that is not trained yet is named before anything is read.
    items = len(kept.items)
    return ScoringRanker(
        score=_scores(config, items),
        variables=_variables(config, items, directory),
        num_items=items,
        max_items=config.model.max_items,
        reads_times=config.model.reads_times,
    )


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class _Trained:
    """A trained run: its data, what scores a batch, its size, and the seconds of its training."""

    dataset: Dataset
    score: Callable[..., jax.Array]
    parameters: int
    seconds: float

    def rank(self, config: SequentialRunConfig) -> Measured:
        """Rank the test targets under the protocol of a config."""
        return rank_by_scores(self.score, config, self.dataset, self.parameters, self.seconds)


def _load(config: SequentialRunConfig, directory: Path) -> _Trained:
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


def _scores(config: SequentialRunConfig, items: int) -> Callable[..., jax.Array]:
    """The function from variables and a batch to scores of all items."""
    return Bound.of(sequential.scores, config=_model(config), num_items=items)


def _variables(config: SequentialRunConfig, items: int, directory: Path) -> Any:
    """Read the best checkpoint of a run."""
    start = Start(run=run_identity(directory))
    return sequential.load_sequential(_model(config), items, directory, start=start)
