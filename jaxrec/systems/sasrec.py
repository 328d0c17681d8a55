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

from jaxrec.baselines import sequential
from jaxrec.baselines.sasrec import SasrecConfig
from jaxrec.core import ConfigError
from jaxrec.core.mesh import MeshConfig, ShardingRules, make_mesh
from jaxrec.core.processes import is_writer
from jaxrec.eval import average
from jaxrec.eval import evaluate as evaluate_users
from jaxrec.systems import comparison, run
from jaxrec.systems.config import COUNTING, METRIC, DataConfig, DecodeConfig, EvalConfig
from jaxrec.systems.dataset import Dataset, load_dataset, training_source
from jaxrec.systems.measured import Measured
from jaxrec.systems.system import Options
from jaxrec.train import FitResult, TrainConfig, check_batch


@dataclasses.dataclass(frozen=True)
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
    if run.exists(directory):
        run.check(config, dataset, directory)
    if options.dry:
        return
    if not run.exists(directory):
        run.create(config, dataset, None, directory)
    result, _ = _fit(config, dataset, directory)
    if is_writer():
        run.write_summary(directory, result)


def _fit(config: SasrecRunConfig, dataset: Dataset, directory: Path) -> tuple[FitResult, Any]:
    """Train, or go on; the result, and the function from a batch to scores."""
    model = dataclasses.replace(config.model, train=config.train)
    items, filter_seen = dataset.num_items, config.decode.filter_seen
    score = jax.jit(functools.partial(sequential.scores, config=model, num_items=items))

    def validate(params: Any) -> dict[str, float]:
        rows = comparison.batches(dataset, "valid", filter_seen)
        scored = functools.partial(score, params)
        return average(evaluate_users(scored, rows, config.eval.ks, comparison.TIES))

    source = training_source(dataset, directory / "data")
    result = sequential.fit_sequential(model, source, items, validate, directory, METRIC)
    return result, functools.partial(score, result.params)


def evaluate(config: SasrecRunConfig, directory: Path, *, baselines: bool) -> dict[str, Any]:
    """See `System`: the table of the run's protocol, and in lines the model under the other one.

    Publications differ in whether seen items stay in the ranking, and few say so.
    """
    dataset, model = _trained(config, directory)
    measured = model(config)
    measured.save(directory / run.TEST, comparison.protocol(config, dataset))
    systems = {comparison.MODEL: measured}
    for name in config.eval.baselines if baselines else ():
        systems[name] = comparison.measure_baseline(name, config, dataset, directory)
    decode = dataclasses.replace(config.decode, filter_seen=not config.decode.filter_seen)
    turned = {comparison.MODEL: model(dataclasses.replace(config, decode=decode))}
    tables = [comparison.table(part, config) for part in (systems, turned)]
    protocol = comparison.protocol(config, dataset)
    other = f"seen items {'kept' if config.decode.filter_seen else 'removed'}"
    return tables[0] | {
        "protocol": protocol,
        "heading": comparison.heading(protocol),
        "tables": {other: tables[1]},
        "lines": comparison.lines(other, tables[1]),
    }


def rank(config: SasrecRunConfig, directory: Path) -> Measured:
    """See `System`."""
    return _trained(config, directory)[1](config)


def _trained(
    config: SasrecRunConfig, directory: Path
) -> tuple[Dataset, Callable[[SasrecRunConfig], Measured]]:
    """The data of a run, and what ranks its test targets under a protocol."""
    dataset = load_dataset(config.data)
    run.check(config, dataset, directory)
    trained = run.read_json(directory / "train.json")
    result, score = _fit(config, dataset, directory)
    size = sum(leaf.size for leaf in jax.tree.leaves(result.params["params"]))
    return dataset, lambda part: comparison.rank(score, part, dataset, size, trained["seconds"])
