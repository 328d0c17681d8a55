"""Train the same model with each ID scheme and seed; print what each scheme reaches.

    python tools/bench/schemes.py [--seeds 3] [--schemes random pq ...] [--out runs/schemes]
        [--config configs/schemes.py] [--architecture encoder_decoder] [--steps N]
        [--markdown FILE]

The config file's `get_sweep()` gives the runs by name. The seed sets initialization, training
windows and dropout, and all that is drawn or clustered for the IDs. A finished (scheme, seed) keeps
its figures below --out, and one cut short its checkpoints: started again, the command goes on where
it was; with other settings it refuses.

Intervals are 95 % percentile bootstrap intervals over users and seeds (`eval.crossed_interval`):
each of 2,000 replicates draws 943 users and, by themselves, the scheme's seeds, with replacement,
and averages over all drawn pairs. Differences to the first scheme draw the same users for both and
each one's own seeds. IDs are counted before repair gives every item its own. CPU seconds are those
of training over all threads, compilation included, which other work on the machine hardly changes;
of a run that was cut short, those of its last sitting. Ends with one JSON line.
"""

import argparse
import dataclasses
import json
import runpy
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import check_types, nearest, read_json, write_text
from jaxrec.data import Dataset, load_dataset
from jaxrec.eval import crossed_interval
from jaxrec.systems.generative import Config, measure_model, recommender as generative

METRICS = ("hr@10", "ndcg@10")
_FILE = "measured.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--schemes", nargs="+", help="some of the sweep's; all by default")
    parser.add_argument("--config", type=Path, default=Path("configs/schemes.py"))
    parser.add_argument("--out", type=Path, default=Path("runs/schemes"))
    parser.add_argument("--architecture", help="in place of the config's")
    parser.add_argument("--steps", type=int, help="likewise, with one validation at their end")
    parser.add_argument("--markdown", type=Path, help="file to write the table to")
    options = parser.parse_args()
    sweep = runpy.run_path(str(options.config))["get_sweep"]()
    names = options.schemes or list(sweep)
    for name in names:
        if name not in sweep:
            parser.error(f"no scheme {name!r} in {options.config}{nearest(name, sweep)}")
    datasets: dict[Any, Dataset] = {}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    # Seeds outside: a sweep that is stopped early has something of every scheme.
    for seed in range(options.seeds):
        for name in names:
            config = with_changes(with_seed(sweep[name], seed), options.architecture, options.steps)
            if config.data not in datasets:
                datasets[config.data] = load_dataset(config.data)
            directory = options.out / f"{name}-{seed}"
            row = measure(config, datasets[config.data], directory)
            found[name].append(row)
            shown = "  ".join(f"{metric} {np.mean(row[metric]):.4f}" for metric in METRICS)
            print(f"{name}, seed {seed}: {shown}  {row['seconds']:.0f} s", flush=True)
    rows = table(found)
    text = markdown(rows, names[0], options.seeds)
    print("\n" + text)
    if options.markdown:
        write_text(options.markdown, text)
    print(json.dumps({"config": str(options.config), "seeds": options.seeds, "rows": rows}))


def with_seed(config: Config, seed: int) -> Config:
    """The config with this seed for the training and for the IDs."""
    return dataclasses.replace(
        config,
        train=dataclasses.replace(config.train, seed=seed),
        ids=dataclasses.replace(config.ids, seed=seed),
    )


def with_changes(config: Config, architecture: str | None, steps: int | None) -> Config:
    """The config with what the command line gives in place of its settings."""
    if architecture:
        config = dataclasses.replace(config, architecture=architecture)
        check_types(config)
    if steps:
        train = dataclasses.replace(config.train, steps=steps, eval_every=steps)
        config = dataclasses.replace(config, train=train)
    return config


def measure(config: Config, dataset: Dataset, directory: Path) -> dict[str, Any]:
    """Train and measure one run, or read what it gave."""
    path = directory / _FILE
    codes = generative.open_run(config, dataset, directory)
    if path.exists():
        return read_json(path)
    started = time.process_time()
    result = generative.train(config, dataset, codes, directory)
    cpu_seconds = time.process_time() - started
    recommender = generative.make_recommender(config, codes, result.params)
    measured, lists = measure_model(recommender, config, dataset, result.seconds)
    before = codes.metadata.get("repair", {}).get("before", codes.metadata)
    row = {metric: measured.metrics[metric].tolist() for metric in METRICS} | {
        "sizes": list(codes.sizes),
        "mean_length": codes.metadata["mean_length"],
        "unique_before_repair": round(before["unique_share"] * codes.num_items),
        "items": codes.num_items,
        "parameters": measured.parameters,
        "cpu_seconds": cpu_seconds,
        "seconds": result.seconds,
        "invalid_items": lists["invalid_items"],
    }
    write_text(path, json.dumps(row) + "\n")
    return row


def table(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Means, intervals and facts of each scheme: JSON-able."""
    values = {
        name: {metric: np.array([row[metric] for row in rows]) for metric in METRICS}
        for name, rows in found.items()
    }
    first = next(iter(values.values()))
    return {
        name: {
            "metrics": {m: list(crossed_interval(values[name][m])) for m in METRICS},
            "seeds": {m: values[name][m].mean(axis=1).tolist() for m in METRICS},
            "difference": {m: list(crossed_interval(values[name][m], first[m])) for m in METRICS},
            "sizes": rows[0]["sizes"],
            "mean_length": float(np.mean([row["mean_length"] for row in rows])),
            "unique_before_repair": [row["unique_before_repair"] for row in rows],
            "items": rows[0]["items"],
            "parameters": [row["parameters"] for row in rows],
            "cpu_seconds": float(np.mean([row["cpu_seconds"] for row in rows])),
            "seconds": float(np.mean([row["seconds"] for row in rows])),
            "invalid_items": sum(row["invalid_items"] for row in rows),
        }
        for name, rows in found.items()
    }


def markdown(rows: Mapping[str, Mapping[str, Any]], first: str, seeds: int) -> str:
    """The table as a reader wants it."""
    lines = [
        f"| scheme | codes | distinct IDs before repair | HR@10, mean of {seeds} seeds | NDCG@10 | "
        f"NDCG@10 minus {first} | parameters | training, CPU s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        (hr, hr_low, hr_high), (ndcg, low, high) = (row["metrics"][m] for m in METRICS)
        difference = "" if name == first else _signed(*row["difference"]["ndcg@10"])
        lines.append(
            f"| {name} | {' x '.join(f'{size:,}' for size in row['sizes'])} | "
            f"{np.mean(row['unique_before_repair']):,.0f} of {row['items']:,} | "
            f"{_short(hr)} [{_short(hr_low)}, {_short(hr_high)}] | "
            f"{_short(ndcg)} [{_short(low)}, {_short(high)}] | {difference} | "
            f"{np.mean(row['parameters']):,.0f} | {row['cpu_seconds']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def _short(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1)


def _signed(mean: float, low: float, high: float) -> str:
    shown = [f"{value:+.3f}".replace("0.", ".", 1) for value in (mean, low, high)]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"


if __name__ == "__main__":
    main()
