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

import numpy as np

from jaxrec.core import ConfigError
from jaxrec.data import (
    ClickWindows,
    Instruction,
    TokenRows,
    encode_instructions,
    random_parts,
    read_instructions,
)
from jaxrec.decode import answer_gaps, answer_tokens
from jaxrec.eval import RunParts, SystemFacts
from jaxrec.models import Opened
from jaxrec.objectives import language_loss
from jaxrec.peft import TuneConfig, Tuning, size_of
from jaxrec.runs import (
    Options,
    Recommendations,
    RecommendRequest,
    best_of_all,
    check_run,
    create_run,
    is_run,
    open_any,
    read_parts,
    run_identity,
)
from jaxrec.systems.tallrec import serving
from jaxrec.systems.tallrec.config import TallrecConfig
from jaxrec.systems.tallrec.prompt_search import (
    FILE as PROMPT_FILE,
    describe_search,
    read_instruction,
    reworded,
    search_prompt,
)
from jaxrec.texts import (
    PUBLISHED,
    SWAPPED,
    Choice,
    ClickParts,
    ClickStage,
    TextModel,
    click_prompts,
    clicks as click_table,
    load_click_parts,
    measure_clicks,
    open_tuned,
    open_tuned_adapter,
    quoted,
    train_stages,
    tuned as tuned_text,
)
from jaxrec.train import TrainConfig

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
    "open_ranker": "TALLRec asks a question about every item, so it recommends to one user at a "
    "time: jaxrec recommend RUN --user USER",
}


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Stage:
    """One training: its texts, and the questions that rank its checkpoints.

    Attributes:
      name: of the stage and of its directory.
      records: texts to train on.
      held: validation questions, in the order of the validation windows.
      config: settings of the training.
    """

    name: str
    records: list[Instruction]
    held: list[Instruction]
    config: TrainConfig


def load_windows(config: TallrecConfig) -> ClickParts:
    """Read the data, and draw the windows to train on if there are to be few.

    Raises:
      DataError: the data have no such windows, or none on which an AUC within users is defined.
      ConfigError: more shots than windows.
    """
    return load_click_parts(
        config.data,
        split=config.split,
        history=config.history,
        threshold=config.threshold,
        shots=config.shots,
        seed=config.train.seed,
        valid_windows=config.eval.valid_windows,
        test_windows=config.eval.test_windows,
    )


def train(config: TallrecConfig, directory: Path, options: Options) -> None:
    """See `System`."""
    windows = load_windows(config)
    facts = windows.describe()
    print(
        f"{facts['dataset']}: {facts['train']:,} windows to train on, {facts['valid']:,} for "
        f"validation, {facts['test']:,} of {facts['test_users']} users for test"
    )
    if config.search.method != "none":
        _search(config, directory, windows, options)
        return
    stages = _stages(config, windows)
    text = _open(config, directory, windows, stages)
    new = not is_run(directory)
    if not new:
        check_run(config, windows, directory)

    def begin() -> None:
        if new:
            text.save(directory)
            create_run(config, windows, None, directory)

    def measure(held: TokenRows, params: Any) -> dict[str, float]:
        gaps = _gaps(config, text, params, held)
        return measure_clicks(windows.valid.label, windows.valid.user, gaps)

    encoded = [
        ClickStage(
            name=stage.name,
            rows=_encode(config, text, stage.records),
            held=_encode(config, text, stage.held),
            config=stage.config,
        )
        for stage in stages
    ]
    train_stages(
        text,
        encoded,
        directory,
        loss=functools.partial(language_loss, text.model),
        measure=measure,
        metric=METRIC,
        options=options,
        begin=begin,
    )


def _search(config: TallrecConfig, directory: Path, windows: ClickParts, options: Options) -> None:
    """Search for the instruction instead of training; a search that has ended is only checked."""
    new = not is_run(directory)
    if not new:
        check_run(config, windows, directory)
    text = TextModel.load(config.tune, config.model, directory, config.train.seed)
    few = click_table.spread(windows.train, config.search.windows)
    prompts = functools.partial(_prompts, config, windows)
    base = text.untuned()

    def measure(part: ClickWindows, instruction: str) -> dict[str, float]:
        rows = _encode(config, text, reworded(prompts(part), instruction))
        return measure_clicks(part.label, part.user, _gaps(config, text, base, rows))

    print(describe_search(config.search, len(few), len(windows.valid)))
    if options.dry:
        _encode(config, text, prompts(windows.valid))
        return
    if new:
        text.save(directory)
        create_run(config, windows, None, directory)
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
    windows = load_windows(config)
    check_run(config, windows, directory)
    text = TextModel.load(config.tune, config.model, directory, config.train.seed)
    prompts = functools.partial(_prompts, config, windows, windows.test)
    trained = _trained(config, text, directory)
    own = _instruction(config, directory)
    systems = {
        "model": _gaps(config, text, trained, _encode(config, text, reworded(prompts(), own)))
    }
    if not own and SWAPPED in windows.templates:
        swapped = _encode(config, text, prompts(template=SWAPPED))
        systems["answers in the other order"] = _gaps(config, text, trained, swapped)
    bare = _encode(config, text, prompts(), virtual=False)
    systems["untuned"] = _gaps(config, text, text.untuned(), bare)
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
    """See `System`: ask about every item of the catalogue, and rank the items by P(yes).

    This takes one prompt per item, so it suits small catalogues or fast devices.
    """
    if config.data.from_records:
        raise ConfigError(
            "this run was trained on files of questions, which do not say what a user rated, so "
            "there is nothing to recommend from; train on ratings"
        )
    windows = load_windows(config)
    check_run(config, windows, directory)
    user, history = serving.known_items(windows.data, request)
    questions = serving.catalogue_windows(windows.data, user, config.history, config.threshold)
    likely = like_probabilities(config, directory, questions, windows.titles)
    return best_of_all(
        request, windows.titles, history, likely, "probability that the user likes it"
    )


def like_probabilities(
    config: TallrecConfig, directory: Path, windows: ClickWindows, titles: list[str]
) -> np.ndarray:
    """Return the probability that each window's user likes its target: `[N]`.

    Args:
      config: the config of a trained run.
      directory: of the run.
      windows: N windows; their labels are not read.
      titles: of all items that the windows number.

    Raises:
      DataError: the run is not trained yet, or damaged.
    """
    text = TextModel.load(config.tune, config.model, directory, config.train.seed)
    trained = _trained(config, text, directory)
    asked = click_prompts(windows, titles, kind=config.kind)
    rows = _encode(config, text, reworded(asked, _instruction(config, directory)))
    return 1 / (1 + np.exp(-_gaps(config, text, trained, rows)))


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
    windows = load_windows(config)
    check_run(config, windows, directory)
    text = TextModel.load(config.tune, config.model, directory, config.train.seed)
    base = open_any(Path(config.tune.base)) if config.tune.base else None
    return text, _trained(config, text, directory), base


def _trained(config: TallrecConfig, text: TextModel, directory: Path) -> Any:
    """Return the model's variables at the best checkpoint of the last stage, or as they were."""
    if config.search.method != "none":
        return text.untuned()
    return text.variables(text.trained(directory, config.train, run_identity(directory)))


def _instruction(config: TallrecConfig, directory: Path) -> str:
    """The instruction of a run; "" for the published one."""
    return config.instruction if config.search.method == "none" else read_instruction(directory)


def _gaps(config: TallrecConfig, text: TextModel, variables: Any, rows: TokenRows) -> np.ndarray:
    """How much more the model expects yes than no after each question: `[N]`."""
    answers = answer_tokens(text.tokenizer, *config.data.answers)
    return answer_gaps(text.model, variables, rows, answers, batch_size=config.eval.batch_size)


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


def _stages(config: TallrecConfig, windows: ClickParts) -> list[Stage]:
    """List the trainings of a run; the last asks about whole histories and parts of them."""
    rng = np.random.default_rng(config.train.seed)
    count, history = windows.train.history.shape

    def prompts(part: ClickWindows, kept: np.ndarray | None = None) -> list[Instruction]:
        return reworded(_prompts(config, windows, part, kept=kept), config.instruction)

    held = prompts(windows.valid)
    questions = prompts(windows.train)
    for _ in range(config.parts):
        questions += prompts(windows.train, kept=random_parts(count, history, rng))
    stages = [Stage(name="train", records=questions, held=held, config=config.train)]
    if config.title_steps:
        records, alone = (
            prompts(part, kept=np.zeros_like(part.liked)) for part in (windows.train, windows.valid)
        )
        settings = dataclasses.replace(config.train, steps=config.title_steps)
        stages.insert(0, Stage(name="titles", records=records, held=alone, config=settings))
    if config.instructions:
        first = read_instructions(config.instructions)
        stages.insert(0, Stage(name="instruct", records=first, held=held, config=config.instruct))
    return stages


def _prompts(
    config: TallrecConfig,
    windows: ClickParts,
    part: ClickWindows,
    *,
    kept: np.ndarray | None = None,
    template: str = PUBLISHED,
) -> list[Instruction]:
    """Write windows of a part as questions, in the wording of the data."""
    return click_prompts(
        part,
        windows.titles,
        kept=kept,
        kind=config.kind,
        template=windows.templates[template],
        answers=Choice(config.data.answers),
        names=windows.names,
    )


def _encode(
    config: TallrecConfig, text: TextModel, records: list[Instruction], *, virtual: bool = True
) -> TokenRows:
    """Tokenize questions, behind the virtual tokens of a tuned prefix or prompt."""
    rows = encode_instructions(
        text.tokenizer, records, config.max_length, on_prompt=config.on_prompt
    )
    shape = text.model.config
    rows = rows.with_virtual(shape.vocab_size, text.virtual if virtual else 0)
    length = rows.tokens.shape[1]
    shape.check_length(length, "questions", "lower max_length or tune.virtual_tokens")
    return rows
