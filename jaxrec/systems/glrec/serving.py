"""A trained GLRec run in use: questions about a whole catalogue, with paths through its graph."""

from pathlib import Path

import numpy as np

from jaxrec.core import ConfigError
from jaxrec.data import ClickWindows
from jaxrec.runs import Kept
from jaxrec.systems.glrec.answering import gaps_of, load_text, rows_of, trained_variables
from jaxrec.systems.glrec.config import GlrecConfig
from jaxrec.systems.glrec.questions import make_writer
from jaxrec.texts import ClickParts, QuestionRanker, load_click_run, quoted


def load_data(config: GlrecConfig) -> ClickParts:
    """Load the ratings of a run, whose users it can recommend to.

    Raises:
      ConfigError: the run was trained on files of questions, or answers other questions.
    """
    if config.data.from_records:
        raise ConfigError(
            "this run was trained on files of questions, which do not say what a user rated, so "
            "there is nothing to recommend from; train on ratings"
        )
    _check_form(config)
    return load_click_run(config)


def _check_form(config: GlrecConfig) -> None:
    if config.form == "pair":
        raise ConfigError(
            "this run says which of two items a user will like, and ranks no catalogue; train with "
            "--form point to recommend"
        )
    if config.paths.planted:
        raise ConfigError(
            "this run reads made-up paths that tell the answer (paths.planted), so it can only be "
            "measured; train without them to recommend"
        )


def open_ranker(config: GlrecConfig, directory: Path, kept: Kept) -> QuestionRanker:
    """Open a trained run to ask about any items.

    The graph has all that the run keeps, the held-out ratings included, because a recommendation is
    no evaluation. No path leads through the user who is asked about.

    Args:
      config: of the run.
      directory: of the run.
      kept: what it keeps of its ratings.

    Raises:
      ConfigError: the run answers about pairs, or reads made-up paths.
      DataError: the run is not trained yet, or damaged.
    """
    _check_form(config)
    text = load_text(config, directory)
    trained = trained_variables(config, text, directory)
    titles, nobody = kept.items.labels(), np.zeros(0, np.int32)
    nothing = ClickWindows(
        user=nobody,
        history=np.zeros((0, config.history), np.int32),
        liked=np.zeros((0, config.history), bool),
        target=nobody,
        label=np.zeros(0, bool),
    )
    parts = ClickParts(
        train=nothing,
        valid=nothing,
        test=nothing,
        asked=(nobody, nobody),
        titles=titles,
        names=quoted(titles),
        data=kept.dataset().interactions,
    )
    writer = make_writer(config, parts)

    def answer(windows: ClickWindows) -> np.ndarray:
        asked = writer.questions(windows, 0)
        # Rows of few lengths, so that questions about any user share a few programs.
        rows = rows_of(config, text, writer, [asked], multiple=64)
        return gaps_of(config, text, trained, writer, rows)

    return QuestionRanker(
        answer=answer, kept=kept, history=config.history, threshold=config.threshold
    )
