"""AUC of the sequential baselines in click mode, few-shot and full, beside the controls.

    python tools/bench/click_baselines.py [names] [--shots 16 64 256 0] [--seeds 1]

On the movie split of TALLRec, 1,000 test windows of 16 users. Few-shot runs have a fixed number of
steps; `--shots 0` trains on all 8,000 windows, and the 1,000 for validation choose the checkpoint.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path

import numpy as np

from jaxrec.eval import click_metrics
from jaxrec.systems.tallrec import TallrecConfig, load_windows
from jaxrec.texts import clicks as click_table
from jaxrec.train import TrainConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(click_table.BASELINES))
    parser.add_argument("--shots", type=int, nargs="*", default=[16, 64, 256, 0])
    parser.add_argument("--seeds", type=int, default=1)
    words = parser.parse_args()
    for name in words.names:
        click_table.check(name)
    for shots in words.shots:
        for seed in range(words.seeds):
            config = dataclasses.replace(TallrecConfig(), shots=shots, train=TrainConfig(seed=seed))
            windows = load_windows(config)
            train, valid, test = windows.train, windows.valid, windows.test
            scores = click_table.controls(train, test)
            with tempfile.TemporaryDirectory() as directory:
                for name in words.names:
                    scores[name] = click_table.baseline(
                        name, train, valid, test, windows.titles, seed, Path(directory)
                    )
            for name, found in scores.items():
                print(f"{shots or 'all'} seed {seed} {name}: {show(test, found)}", flush=True)


def show(test: click_table.ClickWindows, scores: np.ndarray) -> str:
    auc, within = click_metrics(test.label, scores, test.user, resamples=300)
    return (
        f"AUC {auc.mean:.3f} [{auc.low:.3f}, {auc.high:.3f}] within users {within.mean:.3f} "
        f"[{within.low:.3f}, {within.high:.3f}]"
    )


if __name__ == "__main__":
    main()
