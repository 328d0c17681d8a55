"""TALLRec: a language model says "Yes." or "No." to a user's next item (Bao et al., RecSys 2023).

ratings -> windows -> questions in Alpaca's frame -> next-token loss -> gap of the answers' logits

The model is tuned in two stages: on instructions of any kind, then on few or all of the questions.
It is a text model with LoRA, or a small one from scratch whose vocabulary has every title as one
token.

Every comparison needs one control, the number of liked titles in the prompt. On the published movie
split this number alone has an AUC of .726.
"""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxrec.core import ConfigError
from jaxrec.data import (
    ClickWindows,
    TokenRows,
)
from jaxrec.eval import RunParts, SystemFacts
from jaxrec.models import Opened
from jaxrec.objectives import language_loss
from jaxrec.peft import TuneConfig, Tuning, size_of
from jaxrec.runs import (
    Kept,
    Options,
    Recommendations,
    RecommendRequest,
    check_run,
    is_run,
    open_any,
    read_parts,
)
from jaxrec.systems.tallrec import serving
from jaxrec.systems.tallrec.config import TallrecConfig
from jaxrec.systems.tallrec.prompt_search import (
    FILE as PROMPT_FILE,
    describe_search,
    reworded,
    search_prompt,
)
from jaxrec.systems.tallrec.questions import (
    INSTRUCT,
    Stage,
    encode,
    instruction_of,
    prompts_of,
    stages_of,
    trained_variables,
    yes_gaps,
)
from jaxrec.texts import (
    SWAPPED,
    ClickParts,
    ClickStage,
    QuestionRanker,
    TextModel,
    begin_run,
    clicks as click_table,
    load_click_run,
    measure_clicks,
    open_tuned,
    open_tuned_adapter,
    quoted,
    train_stages,
    tuned as tuned_text,
)

METRIC = "mean_auc"


CONFIG = TallrecConfig
FACTS = SystemFacts(
    name="TALLRec",
    summary=(
        "A language model reads which items a user liked and disliked, and answers whether the "
        "user will like one more item."
    ),
    tags=("prompt-based-recommendation",),
    metric=METRIC,
    has_ids=False,
    variants=("answers in the other order", "untuned"),
)
INSTEAD = {
    "rank": "TALLRec is measured by its answers about single items; see jaxrec eval",
    "fit_ids": "TALLRec calls items by their titles",
    "add_items": "TALLRec keeps the items of its ratings; add them there, and train again",
}


def train(config: TallrecConfig, directory: Path, options: Options) -> None:
    """See `System`."""
    windows = load_click_run(config)
    print(windows)
    if config.search.method != "none":
        _search(config, directory, windows, options)
        return
    stages = stages_of(config, windows)
    text = _open(config, directory, windows, stages)

    def measure(held: TokenRows, params: Any) -> dict[str, float]:
        gaps = yes_gaps(config, text, params, held)
        return measure_clicks(windows.valid.label, windows.valid.user, gaps)

    encoded = [
        ClickStage(
            name=stage.name,
            rows=encode(config, text, stage.records, cut=stage.name == INSTRUCT),
            held=encode(config, text, stage.held),
            config=stage.config,
        )
        for stage in stages
    ]
    train_stages(
        text,
        encoded,
        directory,
        config=config,
        parts=windows,
        loss=functools.partial(language_loss, text.model),
        measure=measure,
        metric=METRIC,
        options=options,
    )


def _search(config: TallrecConfig, directory: Path, windows: ClickParts, options: Options) -> None:
    """Search for the instruction instead of training; a search that has ended is only checked."""
    if is_run(directory):
        check_run(config, windows, directory)
    text = TextModel.load(config.tune, config.model, directory, config.train.seed)
    few = click_table.spread(windows.train, config.search.windows)
    prompts = functools.partial(prompts_of, config, windows)
    base = text.untuned()

    def measure(part: ClickWindows, instruction: str) -> dict[str, float]:
        rows = encode(config, text, reworded(prompts(part), instruction))
        return measure_clicks(part.label, part.user, yes_gaps(config, text, base, rows))

    print(describe_search(config.search, len(few), len(windows.valid)))
    if options.dry:
        encode(config, text, prompts(windows.valid))
        return
    begin_run(config, windows, text, directory)
    search_prompt(
        config.search,
        text,
        prompts(windows.train),
        lambda instruction: measure(few, instruction)[METRIC],
        lambda instruction: measure(windows.valid, instruction),
        METRIC,
        directory,
        max_length=config.max_length,
        seed=config.train.seed,
    )


def evaluate(config: TallrecConfig, directory: Path, *, baselines: Sequence[str]) -> dict[str, Any]:
    """See `System`: AUC pooled and within users, beside the controls."""
    windows = load_click_run(config)
    check_run(config, windows, directory)
    text = TextModel.load(config.tune, config.model, directory, config.train.seed)
    prompts = functools.partial(prompts_of, config, windows, windows.test)
    trained = trained_variables(config, text, directory)
    own = instruction_of(config, directory)
    systems = {
        "model": yes_gaps(config, text, trained, encode(config, text, reworded(prompts(), own)))
    }
    if not own and SWAPPED in windows.templates:
        swapped = encode(config, text, prompts(template=SWAPPED))
        systems["answers in the other order"] = yes_gaps(config, text, trained, swapped)
    bare = encode(config, text, prompts(), virtual=False)
    systems["untuned"] = yes_gaps(config, text, text.untuned(), bare)
    systems |= click_table.controls(windows.train, windows.test)
    for name in baselines:
        systems[name] = click_table.baseline(
            name,
            windows.train,
            windows.valid,
            windows.test,
            windows.titles,
            config.train.seed,
            directory,
        )
    facts = windows.describe()
    split = "split by files" if config.data.from_records else f"{config.split} split"
    report = click_table.table(systems, windows.test, config.eval.resamples)
    row = report["rows"]["model"]
    row["parameters"] = size_of(Tuning(text.trainable, text.frozen)).total
    if config.tune.base:
        searched = config.search.method != "none"
        row["metrics"]["tuned_percent"] = 0.0 if searched else text.tuned_percent
    heading = (
        f"{facts['dataset']}, {split}, {facts['train']:,} windows trained on; test: "
        f"{facts['test']:,} windows of {facts['test_users']} users"
    )
    lines = ["AUC by the gap of the answers' logits; intervals by a bootstrap over test users"]
    return report | {"heading": heading, "protocol": dict(facts), "lines": lines}


def recommend(config: TallrecConfig, directory: Path, request: RecommendRequest) -> Recommendations:
    """See `System`: ask about every item of the catalogue, and rank the items by P(yes)."""
    return serving.recommend(config, directory, request)


def load_data(config: TallrecConfig) -> ClickParts:
    """See `System`."""
    return serving.load_data(config)


def open_ranker(config: TallrecConfig, directory: Path, kept: Kept) -> QuestionRanker:
    """See `System`: asks about every item that may be recommended."""
    return serving.open_ranker(config, directory, kept)


def report(config: TallrecConfig, directory: Path) -> RunParts:
    """See `System`."""
    parts = read_parts(config, directory, FACTS)
    # Files of questions are not the data set that `data.name` means.
    return dataclasses.replace(parts, about="", homepage="") if config.data.from_records else parts


def open_model(config: TallrecConfig, directory: Path) -> Opened:
    """See `System`."""
    return open_tuned(config.tune, *_load(config, directory))


def open_adapter(
    config: TallrecConfig, directory: Path
) -> tuple[Opened, dict[str, Any], TuneConfig]:
    """See `System`."""
    if config.search.method != "none":
        raise ConfigError(
            f"{directory} searched for an instruction and changed no parameter, so there is no "
            f"adapter; its instruction is in {directory / PROMPT_FILE}"
        )
    return open_tuned_adapter(config.tune, *_load(config, directory))


def _load(config: TallrecConfig, directory: Path) -> tuple[TextModel, Any, Opened | None]:
    """Return the text model of a trained run, its variables, and the base if it has one."""
    windows = load_click_run(config)
    check_run(config, windows, directory)
    text = TextModel.load(config.tune, config.model, directory, config.train.seed)
    base = open_any(Path(config.tune.base)) if config.tune.base else None
    return text, trained_variables(config, text, directory), base


def _open(
    config: TallrecConfig, directory: Path, windows: ClickParts, stages: list[Stage]
) -> TextModel:
    """Open the model of an existing run, or make the one that a new run begins with."""
    seed = config.train.seed
    if is_run(directory):
        return TextModel.load(config.tune, config.model, directory, seed)
    if config.tune.base:
        return tuned_text.from_base(config.tune, seed)
    texts = [record.prompt + record.output for stage in stages for record in stage.records]
    words = quoted(windows.titles)
    return tuned_text.from_scratch(config.model, texts, config.vocab_size, words, seed)
