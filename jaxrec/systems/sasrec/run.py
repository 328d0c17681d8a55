"""SASRec as a system of its own: item numbers, causal self-attention, scores of all items.

histories -> item vectors -> blocks -> product with the item vectors

(Kang and McAuley 2018, arXiv:1808.09781.) The same model stands beside the generative ones as a
baseline; here it is what is trained, so it can be compared with any of them by `jaxrec compare`.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import jax

from jaxrec.baselines import SasrecConfig, sequential
from jaxrec.core import ConfigError, MeshConfig, ShardingRules, is_writer, make_mesh, read_json
from jaxrec.data import DataConfig, Dataset, load_dataset, training_source
from jaxrec.eval import average, evaluate as evaluate_users
from jaxrec.runs import (
    COUNTING,
    METRIC,
    MODEL,
    TEST_FILE,
    TIES,
    DecodeConfig,
    EvalConfig,
    Measured,
    Options,
    baseline_table,
    check_run,
    create_run,
    heading,
    is_run,
    measure_baseline,
    protocol_of,
    rank_by_scores,
    ranking_batches,
    table_lines,
    write_summary,
)
from jaxrec.train import FitResult, TrainConfig, Validation, check_batch


@dataclasses.dataclass(frozen=True, kw_only=True)
class SasrecRunConfig:
    """A run of SASRec.

    Attributes:
      data: interactions.
      model: the network and its objective; its own `train` is not read.
      train: optimizer and schedule.
      decode: of which `filter_seen` is read.
      eval: measurements; its baselines are of those that count.
    """

    system: ClassVar[str] = "jaxrec.systems.sasrec"

    data: DataConfig = DataConfig()
    model: SasrecConfig = SasrecConfig()
    train: TrainConfig = TrainConfig(lr=1e-3, weight_decay=1e-2)
    decode: DecodeConfig = DecodeConfig()
    eval: EvalConfig = EvalConfig(baselines=("popularity", "item_knn", "markov", "cooccurrence"))

    def __post_init__(self) -> None:
        """Reject what this system does not run."""
        for name in self.eval.baselines:
            if name not in COUNTING:
                raise ConfigError(f"eval.baselines beside SASRec: of {COUNTING}, got {name!r}")
        if self.model.synthetic:
            raise ConfigError(
                f"model.synthetic {self.model.synthetic} draws codes anew, and items have none here"
            )


CONFIG = SasrecRunConfig


def train(config: SasrecRunConfig, directory: Path, options: Options) -> None:
    """See `System`."""
    dataset = load_dataset(config.data)
    print(dataset)
    check_batch(config.train, make_mesh(MeshConfig()), ShardingRules())
    if is_run(directory):
        check_run(config, dataset, directory)
    if options.dry:
        return
    if not is_run(directory):
        create_run(config, dataset, None, directory)
    result, _ = _fit(config, dataset, directory)
    if is_writer():
        write_summary(directory, result)


def _fit(config: SasrecRunConfig, dataset: Dataset, directory: Path) -> tuple[FitResult, Any]:
    """Train, or go on; the result, and the function from a batch to scores."""
    model = dataclasses.replace(config.model, train=config.train)
    items, filter_seen = dataset.num_items, config.decode.filter_seen
    score = jax.jit(functools.partial(sequential.scores, config=model, num_items=items))

    def validate(params: Any) -> dict[str, float]:
        rows = ranking_batches(dataset, "valid", filter_seen)
        scored = functools.partial(score, params)
        return average(evaluate_users(scored, rows, config.eval.ks, TIES))

    source = training_source(dataset, directory / "data")
    validation = Validation(validate, METRIC)
    result = sequential.fit_sequential(model, source, items, validation, directory)
    return result, functools.partial(score, result.params)


def evaluate(config: SasrecRunConfig, directory: Path, *, baselines: bool) -> dict[str, Any]:
    """See `System`: the table of the run's protocol, and in lines the model under the other one.

    Publications differ in whether seen items stay in the ranking, and few say so.
    """
    dataset, model = _trained(config, directory)
    measured = model(config)
    measured.save(directory / TEST_FILE, protocol_of(config, dataset))
    systems = {MODEL: measured}
    for name in config.eval.baselines if baselines else ():
        systems[name] = measure_baseline(name, config, dataset, directory)
    decode = dataclasses.replace(config.decode, filter_seen=not config.decode.filter_seen)
    turned = {MODEL: model(dataclasses.replace(config, decode=decode))}
    tables = [baseline_table(part, config) for part in (systems, turned)]
    protocol = protocol_of(config, dataset)
    other = f"seen items {'kept' if config.decode.filter_seen else 'removed'}"
    return tables[0] | {
        "protocol": protocol,
        "heading": heading(protocol),
        "tables": {other: tables[1]},
        "lines": table_lines(other, tables[1]),
    }


def rank(config: SasrecRunConfig, directory: Path) -> Measured:
    """See `System`."""
    return _trained(config, directory)[1](config)


def _trained(
    config: SasrecRunConfig, directory: Path
) -> tuple[Dataset, Callable[[SasrecRunConfig], Measured]]:
    """The data of a run, and what ranks its test targets under a protocol."""
    dataset = load_dataset(config.data)
    check_run(config, dataset, directory)
    trained = read_json(directory / "train.json")
    result, score = _fit(config, dataset, directory)
    size = sum(leaf.size for leaf in jax.tree.leaves(result.params["params"]))
    return dataset, lambda part: rank_by_scores(score, part, dataset, size, trained["seconds"])
