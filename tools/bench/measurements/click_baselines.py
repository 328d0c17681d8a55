"""AUC of the sequential baselines in click mode, few-shot and full, beside the controls.

    python tools/bench click_baselines [NAMES] [--shots 16 64 256 0] [--seeds 1]

Measured on the movie split of TALLRec: 1,000 test windows of 16 users. Few-shot runs have a fixed
number of steps. `--shots 0` trains on all 8,000 windows, and the 1,000 validation windows choose
the checkpoint.
"""

import dataclasses
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from support.header import print_header
from support.table import Table

from jaxrec.eval import click_metrics
from jaxrec.systems.tallrec import TallrecConfig
from jaxrec.texts import clicks as click_table, load_click_run
from jaxrec.train import TrainConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Which baselines, and how many examples they learn from.

    Attributes:
      names: the baselines; all by default.
      shots: training examples, one row each; 0 for all.
      seeds: trainings of each baseline.
    """

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = tuple(click_table.BASELINES)
    shots: tuple[int, ...] = (16, 64, 256, 0)
    seeds: int = 1


def run(options: Options) -> Table:
    """Train and measure every baseline with every number of examples and every seed."""
    for name in options.names:
        click_table.check(name)
    print_header()
    rows = []
    for shots in options.shots:
        for seed in range(options.seeds):
            test, scores = scores_of(options.names, shots, seed)
            for name, given in scores.items():
                metrics = click_metrics(test.label, given, test.user, resamples=300)
                print(f"{shots or 'all'} seed {seed} {name}: {described(metrics)}", flush=True)
                rows.append({"shots": shots, "seed": seed, "name": name} | record(metrics))
    return Table({"rows": rows})


def scores_of(
    names: tuple[str, ...], shots: int, seed: int
) -> tuple[click_table.ClickWindows, dict[str, np.ndarray]]:
    """The test windows, and their scores by the controls and by each trained baseline."""
    config = dataclasses.replace(TallrecConfig(), shots=shots, train=TrainConfig(seed=seed))
    windows = load_click_run(config)
    train, valid, test = windows.train, windows.valid, windows.test
    scores = click_table.controls(train, test)
    with tempfile.TemporaryDirectory() as directory:
        for name in names:
            scores[name] = click_table.baseline(
                name, train, valid, test, windows.titles, seed, Path(directory)
            )
    return test, scores


def described(metrics: Any) -> str:
    """Both AUCs with their intervals."""
    auc, within = metrics
    return (
        f"AUC {auc.mean:.3f} [{auc.low:.3f}, {auc.high:.3f}] within users {within.mean:.3f} "
        f"[{within.low:.3f}, {within.high:.3f}]"
    )


def record(metrics: Any) -> dict[str, Any]:
    """Both AUCs as [mean, low, high]."""
    return {name: [round(x, 4) for x in interval] for name, interval in metrics._asdict().items()}
