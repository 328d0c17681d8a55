"""What a TALLRec run asks: its trainings, its questions as tokens, and the model's answers."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import ConfigError
from jaxrec.data import (
    ClickWindows,
    Instruction,
    TokenRows,
    check_encoded,
    encode_marked,
    pad_rows,
    random_parts,
    read_instructions,
)
from jaxrec.decode import answer_gaps, answer_tokens
from jaxrec.runs import run_identity
from jaxrec.systems.tallrec.config import TallrecConfig
from jaxrec.systems.tallrec.prompt_search import read_instruction, reworded
from jaxrec.texts import PUBLISHED, Choice, ClickParts, TextModel, click_prompts
from jaxrec.train import TrainConfig

# The stage on instructions of any kind, which may be longer than questions.
INSTRUCT = "instruct"


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


def stages_of(config: TallrecConfig, windows: ClickParts) -> list[Stage]:
    """List the trainings of a run; the last asks about whole histories and parts of them."""
    rng = np.random.default_rng(config.train.seed)
    count, history = windows.train.history.shape

    def prompts(part: ClickWindows, kept: np.ndarray | None = None) -> list[Instruction]:
        return reworded(prompts_of(config, windows, part, kept=kept), config.instruction)

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
        stages.insert(0, Stage(name=INSTRUCT, records=first, held=held, config=config.instruct))
    return stages


def prompts_of(
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


def encode(
    config: TallrecConfig,
    text: TextModel,
    records: list[Instruction],
    *,
    virtual: bool = True,
    cut: bool = False,
    multiple: int = 32,
) -> TokenRows:
    """Tokenize questions, behind the virtual tokens of a tuned prefix or prompt.

    Args:
      config: of the run.
      text: the text model.
      records: questions or instructions.
      virtual: whether the virtual tokens stand before them.
      cut: shorten texts of more than `max_length` tokens at their front.
      multiple: the length of rows is a multiple of this.

    Raises:
      ConfigError: a text has more than `max_length` tokens, and is not to be cut.
    """
    encoded = encode_marked(text.tokenizer, [one.marked for one in records], config.max_length)
    if encoded.cut and not cut:
        raise ConfigError(
            f"{encoded.cut:,} of {len(records):,} questions have more than --max-length "
            f"{config.max_length} tokens; raise it, or lower --history"
        )
    check_encoded(encoded, records, config.max_length)
    padding = text.tokenizer.eos_token_id
    rows = pad_rows(encoded, padding, on_prompt=config.on_prompt, multiple=multiple)
    shape = text.model.config
    rows = rows.with_virtual(shape.vocab_size, text.virtual if virtual else 0)
    length = rows.tokens.shape[1]
    shape.check_length(length, "questions", "lower max_length or tune.virtual_tokens")
    return rows


def yes_gaps(config: TallrecConfig, text: TextModel, variables: Any, rows: TokenRows) -> np.ndarray:
    """How much more the model expects yes than no after each question: `[N]`."""
    answers = answer_tokens(text.tokenizer, *config.data.answers)
    return answer_gaps(text.model, variables, rows, answers, batch_size=config.eval.batch_size)


def instruction_of(config: TallrecConfig, directory: Path) -> str:
    """The instruction of a run; "" for the published one."""
    return config.instruction if config.search.method == "none" else read_instruction(directory)


def trained_variables(config: TallrecConfig, text: TextModel, directory: Path) -> Any:
    """Return the model's variables at the best checkpoint of the last stage, or as they were."""
    if config.search.method != "none":
        return text.untuned()
    return text.variables(text.trained(directory, config.train, run_identity(directory)))
