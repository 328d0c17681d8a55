"""What a GLRec run is asked: questions as tokens, and the model's answers to them."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrec.core import ConfigError
from jaxrec.data import Instruction
from jaxrec.decode import answer_gaps, differing_tokens
from jaxrec.runs import run_identity
from jaxrec.systems.glrec import selector
from jaxrec.systems.glrec.config import GlrecConfig
from jaxrec.systems.glrec.encoding import PathRows, encode_paths
from jaxrec.systems.glrec.questions import PathQuestions, Writer
from jaxrec.texts import TextModel


def load_text(config: GlrecConfig, directory: Path) -> TextModel:
    """Open the model that a run began with."""
    text = TextModel.load(config.tune, config.model, directory, config.train.seed)
    return selector.with_selector(text) if config.selects else text


def trained_variables(config: GlrecConfig, text: TextModel, directory: Path) -> Any:
    """Return the model's variables at the best checkpoint of the last stage."""
    return text.variables(text.trained(directory, config.train, run_identity(directory)))


def rows_of(
    config: GlrecConfig,
    text: TextModel,
    writer: Writer,
    sets: Sequence[PathQuestions],
    *,
    answered: bool = False,
    multiple: int = 32,
) -> PathRows:
    """Questions as tokens.

    Args:
      config: of the run.
      text: the text model.
      writer: writes the questions.
      sets: questions, set after set.
      answered: with all that training is to write.
      multiple: the length of rows is a multiple of this.
    """
    records: list[Instruction] = []
    texts: list[list[str]] = []
    for questions in sets:
        records += writer.records(questions, answered=answered)
        texts += writer.texts(questions)
    on_prompt = config.on_prompt
    return encode_paths(
        text.tokenizer,
        records,
        texts,
        config.max_length,
        on_prompt=on_prompt,
        multiple=multiple,
    )


def most_paths(config: GlrecConfig) -> int:
    """Most paths of a prompt."""
    return max(config.paths.count, 1) * (2 if config.form == "pair" else 1)


def _scale(config: GlrecConfig) -> Callable[[Any, Any], jax.Array] | None:
    if not config.selects:
        return None
    return functools.partial(
        selector.path_scales, count=most_paths(config), strength=config.strength
    )


def gaps_of(
    config: GlrecConfig, text: TextModel, variables: Any, writer: Writer, rows: PathRows
) -> np.ndarray:
    """How much more the model expects the first answer than the second: `[N]`."""
    shared, answers = differing_tokens(text.tokenizer, *writer.answers)
    given = rows.tokens[np.arange(len(rows)), rows.answer + shared]
    if not np.isin(given, answers).all():
        raise ConfigError(
            f"the tokenizer cuts the answers {writer.answers} in these questions differently than "
            "after other prompts; choose answers of whole words"
        )
    return answer_gaps(
        text.model,
        variables,
        rows,
        answers,
        batch_size=config.eval.batch_size,
        shared=shared,
        scale=_scale(config),
    )
