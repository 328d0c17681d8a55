"""What another domain's data are worth where little of one's own is known: a table over seeds.

    python tools/bench/transfer.py [--seeds 0 1 2] [--systems NAME ...] [--config configs/vqrec.py]
        [--out runs/transfer]

The config file's `get_sweep()` gives the systems by name. The seed sets initialization, order,
clustering and which users of the target are known. What was learned in the sources is learned once
a seed and kind of item vector. A finished (system, seed) keeps its figures below --out, and one
that was cut short its checkpoints.

Intervals are 95 % percentile bootstrap intervals over users and seeds (`eval.crossed_interval`),
those of differences are of the first system minus the row's. Ends with one JSON line.
"""

import argparse
import dataclasses
import json
import re
import runpy
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import keep_memory, nearest
from jaxrec.eval import crossed_interval
from jaxrec.runs import (
    Domain,
    Measured,
    known_users,
    load_domains,
    measure_baseline,
    protocol_of,
    rank_by_scores,
    with_seed,
)
from jaxrec.systems.vqrec import VqRecConfig, run as vqrec

METRICS = ("hr@10", "ndcg@10")


def measure(
    config: VqRecConfig, source: Domain | None, target: Domain, directory: Path, shared: Path
) -> Measured:
    """Train and measure, or read what that gave; `shared` has the sources' stage."""
    path, own = directory / "test.npz", directory / "pretrain"
    dataset = target.parts[0]
    facts = protocol_of(config, dataset)
    if not path.exists():
        if config.sources and shared.exists() and not own.exists():
            shutil.copytree(shared, own)
        result, score = vqrec.fit(config, source if config.sources else None, target, directory)
        if config.sources and not shared.exists():
            shutil.copytree(own, shared)
        rank_by_scores(score, config, dataset, 0, result.seconds).save(path, facts)
    return Measured.load(path)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--systems", nargs="+", help="some of the sweep's; all by default")
    parser.add_argument("--config", type=Path, default=Path("configs/vqrec.py"))
    parser.add_argument("--out", type=Path, default=Path("runs/transfer"))
    options = parser.parse_args()
    keep_memory()
    sweep: dict[str, VqRecConfig] = runpy.run_path(str(options.config))["get_sweep"]()
    names = options.systems or list(sweep)
    for name in names:
        if name not in sweep:
            parser.error(f"no system {name!r} in {options.config}{nearest(name, sweep)}")
    c = next(iter(sweep.values()))
    source, every = load_domains(c.data, c.sources, c.share, 0, c.text_fields, c.text_encoder)
    dataset = every.parts[0]
    found: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in names}
    # Seeds outside: a sweep that is stopped early has something of every system.
    for seed in options.seeds:
        known = known_users(dataset.num_users, c.share, seed)
        target = dataclasses.replace(every, users=[known])
        for name in names:
            config = with_seed(sweep[name], seed)
            directory = options.out / f"{re.sub(r'[^a-z]+', '-', name)}-{seed}"
            shared = options.out / f"sources-{config.items}-{seed}"
            measured = measure(config, source, target, directory, shared)
            found[name].append({m: measured.metrics[m] for m in METRICS})
            shown = "  ".join(f"{m} {found[name][-1][m].mean():.4f}" for m in METRICS)
            print(f"{name}, seed {seed}: {shown}", flush=True)
        for name in c.eval.baselines:
            counted = measure_baseline(name, c, dataset, options.out, target.histories)
            found.setdefault(name, []).append({m: counted.metrics[m] for m in METRICS})
    print("\n" + show(found))
    rows = {n: {m: [float(row[m].mean()) for row in r] for m in METRICS} for n, r in found.items()}
    print(json.dumps({"config": str(options.config), "seeds": options.seeds, "rows": rows}))


def show(found: dict[str, list[dict[str, np.ndarray]]]) -> str:
    """The table in Markdown."""
    first = next(iter(found))
    lines = [
        f"| system | HR@10 | NDCG@10 | NDCG@10 of {first} minus this |",
        "|---|---|---|---|",
    ]
    tables = {n: {m: np.stack([row[m] for row in r]) for m in METRICS} for n, r in found.items()}
    for name, table in tables.items():
        cells = [_cell(crossed_interval(table[m])) for m in METRICS]
        gap = crossed_interval(tables[first]["ndcg@10"], table["ndcg@10"])
        cells.append("" if name == first else _cell(gap, "+"))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(interval: Any, sign: str = "") -> str:
    mean, low, high = (f"{value:{sign}.4f}".replace("0.", ".", 1) for value in interval)
    return f"{mean} [{low}, {high}]"


if __name__ == "__main__":
    main()
