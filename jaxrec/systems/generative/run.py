"""The generative recommender: a model reads a user's items and writes the ID of the next one.

interactions -> item IDs -> histories as tokens -> decoder or encoder-decoder -> search -> items

Every item has an ID, a short row of codes that one of twelve schemes makes. A history becomes the
row of the codes of its items. The model is trained to predict the next code, and a beam search over
the trie of all IDs writes the recommendations, so each of them is an item that exists. TIGER and
GPTRec are configs of this system with their own IDs and models; the guides "Item IDs" and
"Decoding" describe the parts.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxrec.core import LOCAL, ConfigError, Engine, is_writer, write_text
from jaxrec.data import Dataset, load_dataset
from jaxrec.eval import RunParts, SystemFacts
from jaxrec.ids import ItemCodes
from jaxrec.items import ids as item_ids, text as item_text
from jaxrec.models import Opened
from jaxrec.peft import TuneConfig
from jaxrec.runs import (
    MODEL,
    TEST_FILE,
    Kept,
    Measured,
    Options,
    Recommendations,
    RecommendRequest,
    baseline_table,
    check_run,
    heading,
    known_items,
    leak_audit,
    left_out_lines,
    listed,
    load_codes,
    measure_baselines,
    protocol_of,
    read_parts,
    read_training,
    with_filter_seen,
    write_summary,
)
from jaxrec.systems.generative import model, opened, recommender as generative, text_encoders
from jaxrec.systems.generative.config import Config
from jaxrec.systems.generative.measure import measure_model, samples
from jaxrec.systems.generative.new_items import added_items, with_new_items
from jaxrec.systems.generative.ranker import (
    GenerativeRanker,
    add_items as _add_items,
    open_ranker as _open_ranker,
)

CONFIG = Config
FACTS = SystemFacts(
    name="Generative recommender",
    summary=(
        "A model that reads a user's history as item IDs and generates the ID of the next item, "
        "code by code, with a beam search that can only reach items that exist."
    ),
    tags=("generative-retrieval",),
    score="reward",
    python="""\
from pathlib import Path
from jaxrec.runs import load_codes
from jaxrec.systems import generative

run = Path("{folder}")
config, codes = generative.load_config(run), load_codes(run)
model = generative.recommender.load_recommender(config, codes, run)
history = ...  # array of item numbers, oldest first
items, scores = model.recommend([history], excluded=[history])""",
)


def resolve(config: Config) -> Config:
    """The config as a run directory holds it: with the shape of the model that it starts from."""
    return model.resolve(config)


def train(config: Config, directory: Path, options: Options) -> None:
    """See `System`."""
    config = model.resolve(config)
    dataset = load_dataset(config.data)
    print(dataset)
    codes = generative.open_run(config, dataset, directory, write=not options.dry)
    print(item_ids.describe(codes))
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


def evaluate(config: Config, directory: Path, *, baselines: Sequence[str]) -> dict[str, Any]:
    """See `System`; also writes `result.json` and `test.npz`."""
    dataset = load_dataset(config.data)
    check_run(config, dataset, directory)
    codes = load_codes(directory)
    recommender = generative.load_recommender(config, codes, directory)
    trained = read_training(directory)
    # First, because it fails at once where an encoder at hand cannot be used.
    encoders = (
        text_encoders.compare(config, dataset, codes, directory)
        if config.eval.text_encoders
        else None
    )
    measured, lists = measure_model(recommender, config, dataset, trained["seconds"])
    protocol = protocol_of(config, dataset)
    measured.save(directory / TEST_FILE, protocol)
    others, left_out = measure_baselines(baselines, config, dataset, directory)
    systems = {MODEL: measured} | others
    table = baseline_table(systems, config)
    _write_result(directory, table["rows"], lists["invalid_items"])
    return table | {
        "protocol": protocol,
        "left_out": left_out,
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
            *left_out_lines(left_out),
            item_text.describe(codes.metadata),
            *text_encoders.lines(encoders),
        ],
    }


def _write_result(directory: Path, rows: dict[str, Any], invalid_items: int) -> None:
    """Write the few figures of a run that scripts read, as one line of JSON."""
    result = {
        "model": rows[MODEL]["metrics"],
        "baselines": {name: row["metrics"] for name, row in rows.items() if name != MODEL},
        "invalid_items": invalid_items,
        "seconds": round(sum(row["fit_seconds"] + row["test_seconds"] for row in rows.values()), 1),
    }
    write_text(directory / "result.json", json.dumps(result) + "\n")


def rank(config: Config, directory: Path, filter_seen: bool | None = None) -> Measured:
    """See `System`."""
    dataset = load_dataset(config.data)
    check_run(config, dataset, directory)
    config = with_filter_seen(config, filter_seen)
    recommender = generative.load_recommender(config, load_codes(directory), directory)
    seconds = read_training(directory)["seconds"]
    return measure_model(recommender, config, dataset, seconds)[0]


def recommend(config: Config, directory: Path, request: RecommendRequest) -> Recommendations:
    """See `System`.

    Raises:
      ConfigError: an unknown user, or more items than the run's search generates.
      DataError: not trained yet, damaged, or of other data.
    """
    dataset = load_dataset(config.data)
    user, history = known_items(dataset, request)
    beams = min(config.decode.beams, dataset.num_items)
    if request.top > beams:
        raise ConfigError(
            f"--top must lie between 1 and the run's {beams} beams, got {request.top}"
        )
    check_run(config, dataset, directory)
    recommender = generative.load_recommender(config, load_codes(directory), directory)
    added = added_items(directory)
    recommender = with_new_items(recommender, added)
    recommender = dataclasses.replace(recommender, batch_size=recommender.devices)
    starts = model.start_tokens(config, dataset)
    items, scores = recommender.recommend(
        [history],
        None if request.include_seen else [history],
        starts=None if starts is None else starts[[user]],
    )
    return listed(
        request,
        [*dataset.interactions.items.labels(), *(one.label for one in added)],
        history,
        items[0],
        scores[0],
        score="log-probability of each ID",
        codes=recommender.codes.codes,
    )


def open_ranker(config: Config, directory: Path, kept: Kept) -> GenerativeRanker:
    """See `System`."""
    return _open_ranker(config, directory)


def add_items(
    config: Config,
    directory: Path,
    kept: Kept,
    ranker: GenerativeRanker,
    rows: Sequence[Mapping[str, Any]],
) -> tuple[GenerativeRanker, list[dict[str, Any]]]:
    """See `System`."""
    return _add_items(config, directory, kept, ranker, rows)


def report(config: Config, directory: Path) -> RunParts:
    """See `System`."""
    required = ("leaks", "samples", "invalid_items", "repeated_items")
    return read_parts(config, directory, FACTS, required)


def fit_ids(config: Config, directory: Path, engine: Engine = LOCAL) -> tuple[Dataset, ItemCodes]:
    """See `System`."""
    config = model.resolve(config)
    dataset = load_dataset(config.data)
    return dataset, generative.open_run(config, dataset, directory, engine=engine)


def open_model(config: Config, directory: Path) -> Opened:
    """See `System`."""
    return opened.open_run_model(directory)


def open_adapter(config: Config, directory: Path) -> tuple[Opened, dict[str, Any], TuneConfig]:
    """See `System`."""
    return opened.open_adapter(directory)
