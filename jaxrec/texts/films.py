"""Yes/no questions about users and films, made of ratings, each in several wordings.

All questions are about a click window: films that a user liked and disliked, and one more film.
Some ask about the user's taste, one of them for the opposite, and others about the film alone. So
only the wording tells a model what is asked, which is what the study of prompts needs. One more
task writes a list of films, each with the answer of one user.

The windows are those of users without a window in TALLRec's published split, so a model that
learned them has seen nobody whom `systems.tallrec` trains on or measures.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from jaxrec.core import DataError
from jaxrec.data import (
    ClickWindows,
    DataConfig,
    Interactions,
    Template,
    click_windows,
    load_interactions,
    published_split,
)
from jaxrec.texts.task_sets import TaskSet

YES, NO = "Yes.", "No."
HISTORY, LISTED = 10, 24
CLUSTER = "films"

# What the model reads of a window, in three forms; {asked} is the film in question.
_WINDOWS = (
    "User Preference: {liked}\nUser Unpreference: {disliked}\nWhat about the target movie {asked}?",
    "Liked: {liked}\nDisliked: {disliked}\nFilm: {asked}",
    "A user enjoyed {liked} and did not enjoy {disliked}.\nThe film in question is {asked}.",
)
_ALONE = (
    "What about the target movie {asked}?",
    "Film: {asked}",
    "The film in question is {asked}.",
)
# Wordings of each task; the last one is unseen.
_WORDINGS: Mapping[str, Sequence[str]] = {
    "like": (
        "Predict if this person enjoys the film.",
        "Would the film please the user?",
        "Decide from the history whether the film fits the taste of the user.",
        "Say if the rating of the film is high.",
        "Tell whether this is a good recommendation.",
    ),
    "dislike": (
        "Predict if this person rejects the film.",
        "Would the film disappoint the user?",
        "Decide from the history whether the film is against the taste of the user.",
        "Say if the rating of the film is low.",
        "Tell whether this is a bad recommendation.",
    ),
    "popular": (
        "Predict if people enjoy the film.",
        "Would the film please an audience?",
        "Decide without a history whether the film is good.",
        "Say if viewers give the film a high rating.",
        "Tell whether the film is a good one.",
    ),
}
# A list of answers of one user, from which a model learns much in few tokens.
_LISTS = (
    "Write which films one user likes.",
    "Predict the answers of a person about several films.",
    "List films, and for each of them whether the user likes it.",
)


def film_tasks(
    count: int,
    lists: int,
    seed: int,
    data: Interactions | None = None,
    history: int = HISTORY,
    listed: int = LISTED,
) -> list[TaskSet]:
    """Make the tasks: liked, disliked, popular, and a list of films with answers.

    Args:
      count: number of windows of each kind of question, drawn without replacement; a quarter of
        it for questions about dislikes.
      lists: number of lists, drawn without replacement.
      seed: of the draws.
      data: ratings of films; None for MovieLens-100K.
      history: H, films that a window shows.
      listed: number of films in a list.

    Raises:
      DataError: there are too few windows for the published split, or it has one of every user.

    Example:
      >>> import numpy as np
      >>> from jaxrec.data import ClickWindows
      >>> from jaxrec.texts.films import window_fields
      >>> window = ClickWindows(
      ...     user=np.array([0]), history=np.array([[0, 1]]), liked=np.array([[True, False]]),
      ...     target=np.array([2]), label=np.array([True]),
      ... )
      >>> window_fields(window, 0, ["Alien", "Brazil", "Cats"])
      {'liked': '"Alien"', 'disliked': '"Brazil"', 'asked': '"Cats"'}
    """
    data = load_interactions(DataConfig(min_count=0)) if data is None else data
    windows = _others(click_windows(data, history))
    titles = data.items.labels()
    answers: Mapping[str, Callable[[bool], bool]] = {
        "like": bool,
        "dislike": lambda liked: not liked,
        "popular": bool,
    }
    words = tuple(dict.fromkeys(f'"{title}"' for title in titles))
    made = []
    for number, (name, wordings) in enumerate(_WORDINGS.items()):
        rng = np.random.default_rng([seed, number])
        # As many questions with the opposite answer would cancel out what the others teach, and a
        # small model would learn neither for a long time.
        most = max(count // 4, 1) if name == "dislike" else count
        chosen = rng.permutation(len(windows))[:most].tolist()
        rows = [
            {
                **window_fields(windows, row, titles),
                "answer": _answer(answers[name](bool(windows.label[row]))),
            }
            for row in chosen
        ]
        made.append(
            TaskSet(
                name=f"films-{name}",
                cluster=CLUSTER,
                rows=rows,
                templates=_templates(name, wordings),
                words=words,
            )
        )
    longer = _others(click_windows(data, listed - 1))
    rng = np.random.default_rng([seed, len(made)])
    chosen = rng.permutation(len(longer))[:lists].tolist()
    made.append(
        TaskSet(
            name="films-list",
            cluster=CLUSTER,
            rows=[{"list": _list(longer, row, titles)} for row in chosen],
            templates=tuple(
                Template(name=f"list-{n}", source=text, target="{list}", seen=n < len(_LISTS))
                for n, text in enumerate(_LISTS, start=1)
            ),
            words=words,
            learned=r"(Yes|No)\.",
        )
    )
    return made


def window_fields(windows: ClickWindows, row: int, titles: Sequence[str]) -> dict[str, str]:
    """Write a window: the quoted titles of liked and disliked films, and of the film asked about.

    Args:
      windows: N windows.
      row: number of the window.
      titles: of all films.
    """
    pairs = list(zip(windows.history[row].tolist(), windows.liked[row].tolist(), strict=True))
    liked, disliked = (
        ", ".join(f'"{titles[item]}"' for item, like in pairs if like == side) or "nothing"
        for side in (True, False)
    )
    return {"liked": liked, "disliked": disliked, "asked": f'"{titles[windows.target[row]]}"'}


def _list(windows: ClickWindows, row: int, titles: Sequence[str]) -> str:
    """All films of a window, each with the user's answer behind a colon, as in Alpaca's frame."""
    items = [*windows.history[row].tolist(), int(windows.target[row])]
    likes = [*windows.liked[row].tolist(), bool(windows.label[row])]
    pairs = zip(items, likes, strict=True)
    return " ".join(f'"{titles[item]}":{_answer(like)}' for item, like in pairs)


def _others(windows: ClickWindows) -> ClickWindows:
    """The windows of users who have none in the published split."""
    published = np.unique(np.concatenate([part.user for part in published_split(windows)]))
    others = windows.take(~np.isin(windows.user, published))
    if not len(others):
        raise DataError(
            "all users have a window in the published split, so none is left for questions about "
            "films; give more users"
        )
    return others


def _templates(name: str, wordings: Sequence[str]) -> tuple[Template, ...]:
    forms = _ALONE if name == "popular" else _WINDOWS
    return tuple(
        Template(
            name=f"{name}-{number}-{form}",
            instruction=wording,
            source=source,
            target="{answer}",
            seen=number < len(wordings),
        )
        for number, wording in enumerate(wordings, start=1)
        for form, source in enumerate(forms, start=1)
    )


def _answer(right: bool | np.bool_) -> str:
    return YES if right else NO
