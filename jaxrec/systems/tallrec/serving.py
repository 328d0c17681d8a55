"""A trained TALLRec run in use: questions about a whole catalogue."""

from pathlib import Path

import numpy as np

from jaxrec.core import ConfigError
from jaxrec.data import ClickWindows, Interactions
from jaxrec.decode import answer_tokens, shared_answer_gaps
from jaxrec.runs import (
    Kept,
    Recommendations,
    RecommendRequest,
    best_of_all,
    check_run,
    find_user,
)
from jaxrec.systems.tallrec.config import TallrecConfig
from jaxrec.systems.tallrec.prompt_search import reworded
from jaxrec.systems.tallrec.questions import (
    encode,
    instruction_of,
    trained_variables,
    yes_gaps,
)
from jaxrec.texts import (
    ClickParts,
    QuestionRanker,
    TextModel,
    alike,
    click_prompts,
    load_click_run,
)


def known_items(data: Interactions, request: RecommendRequest) -> tuple[int, np.ndarray]:
    """Return the number of the user of a request, and all items that they rated, oldest first.

    Raises:
      ConfigError: no such user.
    """
    user = find_user(data.user_ids, request.user, data.name)
    return user, data.item[data.user == user]


def catalogue_windows(
    data: Interactions, user: int, history: int, threshold: float
) -> ClickWindows:
    """Ask about every item after the newest ratings of a user.

    Args:
      data: interactions with ratings, each user's in order of time.
      user: number of the user.
      history: H, ratings that are shown; fewer if the user has fewer.
      threshold: an item is liked if its rating is above.

    Returns:
      I windows, one per item. Their labels are False and mean nothing.

    Example:
      >>> from jaxrec.testing import tiny_interactions
      >>> windows = catalogue_windows(tiny_interactions(users=5, items=12), 3, 4, 3.0)
      >>> windows.history.shape, windows.target.tolist() == list(range(12))
      ((12, 4), True)
    """
    rows = np.flatnonzero(data.user == user)[-history:]
    count = data.num_items

    def repeated(values: np.ndarray) -> np.ndarray:
        return np.tile(values[None], (count, 1))

    return ClickWindows(
        user=np.full(count, user, np.int32),
        history=repeated(data.item[rows]),
        liked=repeated(data.rating[rows] > threshold),
        target=np.arange(count, dtype=np.int32),
        label=np.zeros(count, bool),
    )


def load_data(config: TallrecConfig) -> ClickParts:
    """Load the ratings of a run, whose users it can recommend to.

    Raises:
      ConfigError: the run was trained on files of questions.
    """
    if config.data.from_records:
        raise ConfigError(
            "this run was trained on files of questions, which do not say what a user rated, so "
            "there is nothing to recommend from; train on ratings"
        )
    return load_click_run(config)


def open_ranker(config: TallrecConfig, directory: Path, kept: Kept) -> QuestionRanker:
    """Open a trained run to ask about any items.

    Args:
      config: of the run.
      directory: of the run.
      kept: what it keeps of its ratings.

    Raises:
      DataError: the run is not trained yet, or damaged.
    """
    text = TextModel.load(config.tune, config.model, directory, config.train.seed)
    trained = trained_variables(config, text, directory)
    instruction, titles = instruction_of(config, directory), kept.items.labels()
    answers = answer_tokens(text.tokenizer, *config.data.answers)

    def answer(windows: ClickWindows) -> np.ndarray:
        asked = reworded(click_prompts(windows, titles, kind=config.kind), instruction)
        # Rows of few lengths, so that questions about any user share a few programs.
        rows = encode(config, text, asked, multiple=64, virtual=False)
        return shared_answer_gaps(
            text.model,
            trained,
            rows,
            alike(windows),
            answers,
            batch_size=config.eval.batch_size,
        )

    return QuestionRanker(
        answer=answer, kept=kept, history=config.history, threshold=config.threshold
    )


def recommend(config: TallrecConfig, directory: Path, request: RecommendRequest) -> Recommendations:
    """Ask about every item of the catalogue, and rank the items by P(yes).

    This takes one prompt per item, so it suits small catalogues or fast devices.

    Args:
      config: the config of a trained run.
      directory: of the run.
      request: who asks.

    Raises:
      ConfigError: the run was trained on files, or there is no such user.
      DataError: the run is not trained yet, or damaged.
    """
    windows = load_data(config)
    check_run(config, windows, directory)
    user, history = known_items(windows.data, request)
    questions = catalogue_windows(windows.data, user, config.history, config.threshold)
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
    trained = trained_variables(config, text, directory)
    asked = click_prompts(windows, titles, kind=config.kind)
    rows = encode(config, text, reworded(asked, instruction_of(config, directory)))
    return 1 / (1 + np.exp(-yes_gaps(config, text, trained, rows)))
