"""Train P5 with one way of writing items after the other; print index x task x wording in a table.

    python tools/bench/openp5.py [--indexes random independent ...] [--config configs/openp5.py]
        [--out runs/openp5_sweep] [--seeds 1] [--markdown FILE]

The config file's `get_sweep()` gives the runs by name; its data may differ from run to run. What is
measured is what `jaxrec eval` measures: the whole catalogue ranked, with and without the items of
the history, by a wording of the training and by one that it lacks, beside counting baselines. A run
that is there is not trained again, and one cut short goes on. Ends with one JSON line.
"""

import argparse
import json
import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sweeps import measure

from jaxrec.core import nearest, write_text
from jaxrec.runs import with_seed

METRICS = ("hr@5", "hr@10", "ndcg@10")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--indexes", nargs="+", help="some of the sweep's; all by default")
    parser.add_argument("--config", type=Path, default=Path("configs/openp5.py"))
    parser.add_argument("--out", type=Path, default=Path("runs/openp5_sweep"))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--markdown", type=Path, help="file to write the table to")
    options = parser.parse_args()
    sweep = runpy.run_path(str(options.config))["get_sweep"]()
    names = options.indexes or list(sweep)
    for name in names:
        if name not in sweep:
            parser.error(f"no index {name!r} in {options.config}{nearest(name, sweep)}")
    reports: dict[str, list[Mapping[str, Any]]] = {name: [] for name in names}
    for seed in range(options.seeds):
        for name in names:
            reports[name].append(
                measure(with_seed(sweep[name], seed), options.out / f"{name}-{seed}")
            )
            print(f"measured {name}, seed {seed}", flush=True)
    found = rows(reports)
    text = markdown(found)
    print("\n" + text)
    if options.markdown:
        write_text(options.markdown, text)
    print(json.dumps({"config": str(options.config), "seeds": options.seeds, "rows": found}))


def rows(reports: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """One row a data set, index, table and system, means over seeds; baselines once a data set."""
    found, seen = [], set()
    for index, each in reports.items():
        dataset = each[0]["protocol"]["dataset"]
        for table, content in each[0]["tables"].items():
            if not table.startswith(("sequential,", "straightforward,")):
                continue
            for system in content["rows"]:
                model = system.startswith("model")
                key = (dataset, index if model else "", table, system)
                if key in seen:
                    continue
                seen.add(key)
                values = [report["tables"][table]["rows"][system]["metrics"] for report in each]
                found.append(
                    {
                        "dataset": dataset,
                        "index": index if model else "",
                        "table": table,
                        "system": system,
                        "metrics": {m: float(np.mean([v[m] for v in values])) for m in METRICS},
                    }
                )
    return found


def markdown(found: Sequence[Mapping[str, Any]]) -> str:
    """The table as a reader wants it, task by task."""
    lines = [
        "| data | ranking | system | index | HR@5 | HR@10 | NDCG@10 |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in sorted(found, key=lambda row: (row["dataset"], row["table"], row["system"])):
        cells = [f"{row['metrics'][m]:.4f}".replace("0.", ".", 1) for m in METRICS]
        names = (row["dataset"], row["table"], row["system"], row["index"])
        lines.append(f"| {' | '.join([*names, *cells])} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
