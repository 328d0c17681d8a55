"""`jaxrec eval RUN`: the model and its baselines under one protocol, in one table."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from jaxrec.cli.arguments import parse
from jaxrec.core.files import write_text
from jaxrec.systems import comparison, generative, item_text, text_encoders
from jaxrec.systems import run as runs
from jaxrec.systems.dataset import load_dataset


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measure a run beside its baselines.

    Attributes:
      run: the run directory.
      baselines: also fit and measure the config's baselines.
    """

    run: Annotated[Path, tyro.conf.Positional]
    baselines: bool = True


def run(arguments: list[str]) -> None:
    """Evaluate, print the table, write `result.json` and `eval.json`."""
    options = parse(Arguments, arguments, prog="jaxrec eval")
    directory = options.run
    config = runs.load_config(directory)
    dataset = load_dataset(config.data)
    runs.check(config, dataset, directory)
    codes = runs.load_codes(directory)
    recommender = generative.load_recommender(config, codes, directory)
    trained = runs.read_json(directory / "train.json")
    # First, as it fails at once where an encoder at hand cannot be used.
    encoders = (
        text_encoders.compare(config, dataset, codes, directory)
        if config.eval.text_encoders
        else None
    )
    model, lists = comparison.measure_model(recommender, config, dataset, trained["seconds"])
    measured = {comparison.MODEL: model}
    for name in config.eval.baselines if options.baselines else ():
        measured[name] = comparison.measure_baseline(name, config, dataset, directory)
    found = comparison.table(measured, config)
    facts = dataset.describe() | {
        "ranking": f"full catalogue of {dataset.num_items:,} items",
        "seen_items": "removed" if config.decode.filter_seen else "kept",
        "tied_scores": "at their mean rank",
    }
    report = found | {
        "protocol": facts,
        "leaks": comparison.leak_audit(dataset),
        "ids": codes.metadata | {"scheme": codes.scheme, "sizes": list(codes.sizes)},
        "text_encoders": encoders,
        "train": trained,
        "samples": comparison.samples(config, dataset, lists),
        "invalid_items": lists["invalid_items"],
        "repeated_items": lists["repeated_items"],
    }
    write_text(directory / "eval.json", runs.to_json(report))
    seconds = sum(row["fit_seconds"] + row["test_seconds"] for row in found["rows"].values())
    result = {
        "model": found["rows"][comparison.MODEL]["metrics"],
        "baselines": {name: found["rows"][name]["metrics"] for name in measured if name != "model"},
        "invalid_items": lists["invalid_items"],
        "seconds": round(seconds, 1),
    }
    write_text(directory / "result.json", json.dumps(result) + "\n")
    show(report)
    print(f"next: jaxrec report {directory}")


def show(report: Mapping[str, Any]) -> None:
    """Print the table of a comparison."""
    facts = report["protocol"]
    print(
        f"{facts['dataset']}, test: {facts['users']:,} users, {facts['ranking']}, seen items "
        f"{facts['seen_items']}; ties in time: {facts['ties']}"
    )
    names = [name for name in report["rows"]["model"]["metrics"] if not name.startswith("mrr")]
    table = Table("system", *names, "parameters", "fit s", "test s")
    for name, row in report["rows"].items():
        cells = [
            "{:.4f} [{:.3f}, {:.3f}]".format(row["metrics"][metric], *row["intervals"][metric])
            for metric in names
        ]
        table.add_row(
            name,
            *cells,
            f"{row['parameters']:,}",
            f"{row['fit_seconds']:.0f}",
            f"{row['test_seconds']:.1f}",
        )
    Console(width=max(Console().width, 150)).print(table)
    for row in report["comparisons"]:
        print(
            f"model - {row['baseline']}: {row['metric']} {row['difference']:+.4f} "
            f"[{row['interval'][0]:+.4f}, {row['interval'][1]:+.4f}], p {row['p_holm']:.3f} (Holm)"
        )
    print(f"invalid items {report['invalid_items']}, repeated items {report['repeated_items']}")
    print(item_text.describe(report["ids"]))
    encoders = report["text_encoders"]
    for row in encoders["rows"] if encoders else ():
        print(
            f"  {row['encoder']}: {encoders['metric']} {row['value']:.4f} "
            f"[{row['interval'][0]:.3f}, {row['interval'][1]:.3f}] on validation by nearest texts "
            f"(chance {encoders['chance']:.4f}), {row['moved']:,} items moved by collision repair"
        )
