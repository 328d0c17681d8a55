"""TALLRec by number of examples: AUC of the model, its controls and the sequential baselines.

    python tools/bench/shots.py [--config configs/tallrec.py] [--shots 16 64 256] [--seeds 0 1 2]
        [--out runs/shots]

The config file's `get_sweep()` gives the runs by name. The seed draws the examples and the model's
parameters. A run that is there is not trained again, and one cut short goes on. Prints means over
seeds with the lowest and the highest; ends with one JSON line.
"""

import argparse
import json
import runpy
from pathlib import Path

import numpy as np
from sweeps import measure

from jaxrec.core import keep_memory, nearest
from jaxrec.runs import with_seed

METRICS = ("auc", "within_user_auc")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", type=Path, default=Path("configs/tallrec.py"))
    parser.add_argument("--shots", nargs="+", help="some of the sweep's; all by default")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/shots"))
    options = parser.parse_args()
    keep_memory()
    sweep = runpy.run_path(str(options.config))["get_sweep"]()
    names = options.shots or list(sweep)
    for name in names:
        if name not in sweep:
            parser.error(f"no shots {name!r} in {options.config}{nearest(name, sweep)}")
    found: dict[str, dict[str, np.ndarray]] = {}
    for name in names:
        reports = []
        for seed in options.seeds:
            config = with_seed(sweep[name], seed)
            reports.append(measure(config, options.out / f"{name}-{seed}")["rows"])
            print(f"measured {name}, seed {seed}", flush=True)
        found[name] = {
            system: np.array([[r[system]["metrics"][m] for m in METRICS] for r in reports])
            for system in reports[0]
        }
    print("\n" + show(found))
    rows = {
        name: {s: dict(zip(METRICS, table.T.tolist(), strict=True)) for s, table in systems.items()}
        for name, systems in found.items()
    }
    print(json.dumps({"config": str(options.config), "seeds": options.seeds, "rows": rows}))


def show(found: dict[str, dict[str, np.ndarray]]) -> str:
    """The table in Markdown: `[seeds, metrics]` a system and number of examples."""
    lines = [f"| examples | system | {' | '.join(METRICS)} |", "|---|---|---|---|"]
    for name, systems in found.items():
        for system, table in systems.items():
            cells = [f"{c.mean():.3f} ({c.min():.3f} to {c.max():.3f})" for c in table.T]
            lines.append(f"| {name} | {system} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
