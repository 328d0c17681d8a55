"""The generative recommender as the commands run it: train a run, measure it beside baselines."""

import json
from pathlib import Path
from typing import Any

from jaxrec.core import is_writer, read_json, write_text
from jaxrec.data import load_dataset
from jaxrec.items import text as item_text
from jaxrec.models import Opened
from jaxrec.peft import TuneConfig
from jaxrec.runs import (
    MODEL,
    TEST_FILE,
    Measured,
    Options,
    baseline_table,
    check_run,
    heading,
    leak_audit,
    load_codes,
    measure_baseline,
    protocol_of,
    write_summary,
)
from jaxrec.systems.generative import model, opened, recommender as generative, text_encoders
from jaxrec.systems.generative.config import Config
from jaxrec.systems.generative.measure import measure_model, samples

CONFIG = Config


def resolve(config: Config) -> Config:
    """The config as a run directory holds it: with the shape of the model that it starts from."""
    return model.resolve(config)


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
        write_summary(directory, result, trained_parameters=plan.size.trainable)


def evaluate(config: Config, directory: Path, *, baselines: bool) -> dict[str, Any]:
    """See `System`; writes `result.json` and `test.npz` too."""
    dataset = load_dataset(config.data)
    check_run(config, dataset, directory)
    codes = load_codes(directory)
    recommender = generative.load_recommender(config, codes, directory)
    trained = read_json(directory / "train.json")
    # First, as it fails at once where an encoder at hand cannot be used.
    encoders = (
        text_encoders.compare(config, dataset, codes, directory)
        if config.eval.text_encoders
        else None
    )
    measured, lists = measure_model(recommender, config, dataset, trained["seconds"])
    protocol = protocol_of(config, dataset)
    measured.save(directory / TEST_FILE, protocol)
    systems = {MODEL: measured}
    for name in config.eval.baselines if baselines else ():
        systems[name] = measure_baseline(name, config, dataset, directory)
    found = baseline_table(systems, config)
    rows = found["rows"]
    result = {
        "model": rows[MODEL]["metrics"],
        "baselines": {name: row["metrics"] for name, row in rows.items() if name != "model"},
        "invalid_items": lists["invalid_items"],
        "seconds": round(sum(row["fit_seconds"] + row["test_seconds"] for row in rows.values()), 1),
    }
    write_text(directory / "result.json", json.dumps(result) + "\n")
    return found | {
        "protocol": protocol,
        "heading": heading(protocol),
        "leaks": leak_audit(dataset),
        "ids": codes.metadata | {"scheme": codes.scheme, "sizes": list(codes.sizes)},
        "text_encoders": encoders,
        "train": trained,
        "samples": samples(config, dataset, lists),
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
    check_run(config, dataset, directory)
    recommender = generative.load_recommender(config, load_codes(directory), directory)
    seconds = read_json(directory / "train.json")["seconds"]
    return measure_model(recommender, config, dataset, seconds)[0]


def open_model(config: Config, directory: Path) -> Opened:
    """See `System`."""
    return opened.open_run_model(directory)


def open_adapter(config: Config, directory: Path) -> tuple[Opened, dict[str, Any], TuneConfig]:
    """See `System`."""
    return opened.open_adapter(directory)
