"""Is ChatGPT a good recommender? A language model that recommends as it is, by prompts alone.

data set -> questions of five tasks -> prompts -> answers -> repair loop -> items, stars, texts

The prompts of Liu et al. 2023, arXiv:2304.10149, tell a task, what the user did, and the format of
the answer. Tasks are rating prediction; sequential recommendation by free titles, by a choice among
a hundred candidates and by yes or no; direct recommendation; explanation; and the summary of a
review. With `--shots` prompts show demonstrations.

Nothing is trained: `jaxrec train` checks the settings and writes the questions down, and `jaxrec
eval` asks them. Answers are stored in the run directory, so an interrupted evaluation resumes. An
illegal answer is repaired by rules or asked for again, and free titles are looked up in the
catalogue. An answer that stays illegal counts: a list is empty, a rating is the training mean, a
word is "no", and a text is empty.

`System` describes the functions of this module.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxrec.core import to_json, write_text
from jaxrec.eval import RunParts, SystemFacts
from jaxrec.prompting import LanguageModel
from jaxrec.runs import MODEL, Options, check_run, create_run, is_run, read_parts
from jaxrec.systems.chatgpt.config import ChatGptConfig
from jaxrec.systems.chatgpt.measure import (
    Row,
    measure_baselines,
    measure_model,
    open_grounding,
    overall,
    probe,
    room_of,
)
from jaxrec.systems.chatgpt.planted import planted_model
from jaxrec.systems.chatgpt.study import Study, prepare
from jaxrec.texts import AskTotals, Questions, open_asked_model

ANSWERS = "answers.jsonl"
CONFIG = ChatGptConfig
FACTS = SystemFacts(
    name="Asked language model",
    summary=(
        "A language model that recommends without training: prompts tell a task, the user's "
        "behaviour and the format of the answer."
    ),
    tags=("prompt-based-recommendation", "zero-shot"),
    metric="compliance",
    has_ids=False,
    recommends=False,
)
INSTEAD = {
    "rank": "an asked model lists ten items and ranks no catalogue; see jaxrec eval",
    "recommend": "give the task sequential to jaxrec eval",
    "fit_ids": "prompts name items by their titles",
    "open_model": "nothing is trained, so there is only the model that is asked",
    "open_adapter": "nothing is trained",
}


def train(config: ChatGptConfig, directory: Path, options: Options) -> None:
    """See `System`: checks everything and writes the run directory; nothing is trained."""
    study = prepare(config)
    open_grounding(config, study.data.names.items)
    print(study.data.dataset)
    for name, asked in study.asked.items():
        words = sum(len(text.split()) for text in asked.questions.prompts)
        print(f"{name}: {len(asked.questions):,} questions of {words:,} words, without examples")
    if study.probe:
        count = sum(len(asked.questions) for asked in study.probe.values())
        print(f"probe of position bias: {count:,} questions more")
    if not config.planted.script:
        # A model that cannot be opened is found before anything is written.
        open_asked_model(dataclasses.replace(config.asked, answers=""))
    if is_run(directory):
        check_run(config, study, directory)
    if options.dry:
        return
    if not is_run(directory):
        create_run(config, study, None, directory)
    write_text(directory / "train.json", to_json({"seconds": 0.0}))


def evaluate(config: ChatGptConfig, directory: Path, *, baselines: Sequence[str]) -> dict[str, Any]:
    """See `System`: metrics of each task, compliance, and position bias, beside baselines."""
    study = prepare(config)
    check_run(config, study, directory)
    model, questions = open_model_of(study, directory)
    grounding = open_grounding(config, study.data.names.items)
    tables: dict[str, dict[str, Row]] = {}
    taken = []
    for name, asked in questions.items():
        row, refined = measure_model(study, name, model, asked, grounding)
        tables[name] = {MODEL: row}
        taken.append(refined)
        if baselines:
            tables[name] |= measure_baselines(study, name, asked, baselines)
    whole = overall(config, taken)
    main = whole.to_json()
    if study.probe:
        bias, probed = probe(study, model, grounding)
        main = {part: main[part] | bias.to_json()[part] for part in main}
        taken += probed
    totals = sum((one.first + one.more for one in taken), AskTotals())
    return {
        "rows": {MODEL: main | {"parameters": 0}},
        "comparisons": [],
        "tables": {
            name: {"rows": {one: row.to_json() for one, row in table.items()}}
            for name, table in tables.items()
        },
        "values": {
            f"{name}/{metric}": values.tolist()
            for name, table in tables.items()
            for metric, values in table[MODEL].values.items()
        },
        "protocol": study.describe(),
        "heading": (
            f"{study.data.dataset.interactions.name}, {config.eval.stage}: {model.name}, "
            f"{config.shots} demonstrations"
        ),
        "totals": totals.to_json(),
        "lines": [line for name, table in tables.items() for line in _lines(name, table)],
    }


def open_model_of(study: Study, directory: Path) -> tuple[LanguageModel, dict[str, Questions]]:
    """Open the model that a study asks, and write the whole prompts for it.

    Raises:
      ConfigError: no model, or a prompt that is longer than it reads.
      DataError: a missing or damaged model, recording or file of answers.
    """
    config = study.config
    if not config.planted.script:
        model = open_asked_model(config.asked, directory / ANSWERS)
        return model, _prompted(study, model)
    # A script reads no tokens, so it gets the whole prompts of any model without a limit.
    blank = planted_model(config.planted, study.data, [])
    questions = _prompted(study, blank)
    asked = [(study.asked[name].task, one) for name, one in questions.items()]
    asked += [(one.task, one.prompted(blank, room_of(config, one))) for one in study.probe.values()]
    return planted_model(config.planted, study.data, asked), questions


def _prompted(study: Study, model: LanguageModel) -> dict[str, Questions]:
    return {
        name: asked.prompted(model, room_of(study.config, asked))
        for name, asked in study.asked.items()
    }


def _lines(name: str, table: Mapping[str, Row]) -> list[str]:
    """A task as text: the model's row and those of its baselines."""
    lines = [f"{name}:"]
    for system, one in table.items():
        shown = []
        for metric, value in one.metrics.items():
            if metric.startswith("mrr"):
                continue
            ends = one.intervals.get(metric)
            interval = "" if ends is None else f" [{ends[0]:.3f}, {ends[1]:.3f}]"
            shown.append(f"{metric} {value:.4f}{interval}")
        lines.append(f"  {system}: {'  '.join(shown)}")
    return lines


def report(config: ChatGptConfig, directory: Path) -> RunParts:
    """See `System`."""
    return read_parts(config, directory, FACTS)
