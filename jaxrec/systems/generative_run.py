"""The generative recommender as the commands run it: train a run, measure it beside baselines."""

import json
from pathlib import Path
from typing import Any

from jaxrec.core.files import write_text
from jaxrec.core.processes import is_writer
from jaxrec.systems import comparison, generative, item_text, model, run, text_encoders
from jaxrec.systems.config import Config
from jaxrec.systems.dataset import load_dataset
from jaxrec.systems.measured import Measured
from jaxrec.systems.system import Options

CONFIG = Config


def train(config: Config, directory: Path, options: Options) -> None:
    """See `System`."""
    config = model.resolve(config)
    dataset = load_dataset(config.data)
    print(dataset)
    codes = generative.open_run(config, dataset, directory, write=not options.dry)
    print(item_text.describe(codes.metadata))
    if options.show_shardings:
        print(generative.show_shardings(config, codes))
    plan = generative.plan_training(config, dataset, codes)
    print(plan)
    if options.dry:
        plan.memory.check()
        return
    result = generative.train(config, dataset, codes, directory, plan, options.profile)
    if is_writer():
        run.write_summary(directory, result, trained_parameters=plan.size.trainable)


def evaluate(config: Config, directory: Path, *, baselines: bool) -> dict[str, Any]:
    """See `System`; writes `result.json` and `test.npz` too."""
    dataset = load_dataset(config.data)
    run.check(config, dataset, directory)
    codes = run.load_codes(directory)
    recommender = generative.load_recommender(config, codes, directory)
    trained = run.read_json(directory / "train.json")
    # First, as it fails at once where an encoder at hand cannot be used.
    encoders = (
        text_encoders.compare(config, dataset, codes, directory)
        if config.eval.text_encoders
        else None
    )
    measured, lists = comparison.measure_model(recommender, config, dataset, trained["seconds"])
    protocol = comparison.protocol(config, dataset)
    measured.save(directory / run.TEST, protocol)
    systems = {comparison.MODEL: measured}
    for name in config.eval.baselines if baselines else ():
        systems[name] = comparison.measure_baseline(name, config, dataset, directory)
    found = comparison.table(systems, config)
    rows = found["rows"]
    result = {
        "model": rows[comparison.MODEL]["metrics"],
        "baselines": {name: row["metrics"] for name, row in rows.items() if name != "model"},
        "invalid_items": lists["invalid_items"],
        "seconds": round(sum(row["fit_seconds"] + row["test_seconds"] for row in rows.values()), 1),
    }
    write_text(directory / "result.json", json.dumps(result) + "\n")
    return found | {
        "protocol": protocol,
        "heading": comparison.heading(protocol),
        "leaks": comparison.leak_audit(dataset),
        "ids": codes.metadata | {"scheme": codes.scheme, "sizes": list(codes.sizes)},
        "text_encoders": encoders,
        "train": trained,
        "samples": comparison.samples(config, dataset, lists),
        "invalid_items": lists["invalid_items"],
        "repeated_items": lists["repeated_items"],
        "lines": [
            f"invalid items {lists['invalid_items']}, repeated items {lists['repeated_items']}",
            item_text.describe(codes.metadata),
            *text_encoders.lines(encoders),
        ],
    }


def rank(config: Config, directory: Path) -> Measured:
    """See `System`."""
    dataset = load_dataset(config.data)
    run.check(config, dataset, directory)
    recommender = generative.load_recommender(config, run.load_codes(directory), directory)
    seconds = run.read_json(directory / "train.json")["seconds"]
    return comparison.measure_model(recommender, config, dataset, seconds)[0]
