"""Train a config with several seeds and print the test metrics of each, their mean and range.

    python tools/bench/seeds.py configs/quickstart.py --seeds 3 [--overrides]

The seed sets the initialization, the order of training windows and dropout; with --all it also sets
the clustering behind the item IDs. Ends with one JSON line.
"""

import dataclasses
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from jaxrec.cli import take_config
from jaxrec.data import load_dataset
from jaxrec.eval import average
from jaxrec.systems.generative import measure_model, recommender as generative


def main() -> None:
    words = sys.argv[1:]
    at = words.index("--seeds") if "--seeds" in words else len(words)
    seeds = int(words[at + 1]) if at < len(words) else 3
    every = "--all" in words
    rest = [word for n, word in enumerate(words) if n not in (at, at + 1) and word != "--all"]
    config, path, _ = take_config(rest, "train")
    dataset = load_dataset(config.data)
    rows = []
    for seed in range(seeds):
        train = dataclasses.replace(config.train, seed=seed)
        ids = dataclasses.replace(config.ids, seed=seed) if every else config.ids
        varied = dataclasses.replace(config, train=train, ids=ids)
        with tempfile.TemporaryDirectory() as directory:
            codes = generative.open_run(varied, dataset, Path(directory))
            result = generative.train(varied, dataset, codes, Path(directory))
        recommender = generative.make_recommender(varied, codes, result.params)
        measured, lists = measure_model(recommender, varied, dataset, result.seconds)
        row = average(measured.metrics) | {
            "seconds": result.seconds,
            "best_step": result.best_step,
            "invalid_items": lists["invalid_items"],
            "valid_ndcg@10": result.metrics["ndcg@10"],
        }
        rows.append(row)
        print(f"seed {seed}:", "  ".join(f"{k} {v:.4g}" for k, v in row.items()), flush=True)
    table = {name: [row[name] for row in rows] for name in rows[0]}
    means = {name: float(np.mean(values)) for name, values in table.items()}
    print("mean:", "  ".join(f"{name} {value:.4g}" for name, value in means.items()))
    print(json.dumps({"config": str(path), "seeds": seeds, "mean": means, "rows": rows}))


if __name__ == "__main__":
    main()
