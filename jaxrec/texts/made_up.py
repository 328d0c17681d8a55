"""Small tasks that are made up: lists, numbers, words and recommendation, each in several wordings.

They show whether instruction tuning works with a model of a million parameters and no download.
Tasks about lists are products of a question (first, last, second, how many, is it there) and a kind
of thing (numbers, words, films). So a held-out product asks whether a model combines what it has
learned: it knows lists of films, and it knows "last", but nobody asked it for the last film.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from jaxrec.data import Template
from jaxrec.texts.task_sets import Row, TaskSet

_WORDS = (
    "apple river stone cloud lamp chair bread glass tiger horse paper green music tower garden "
    "window silver letter bridge winter summer orange pencil basket"
)
_FILMS = (
    "Alien Brazil Casablanca Dune Eraserhead Fargo Gandhi Heat Ikiru Jaws Kagemusha Laura Memento "
    "Network Oldboy Psycho Ran Solaris Tootsie Up Vertigo Witness Yojimbo Zodiac"
)
WORDS, FILMS = tuple(_WORDS.split()), tuple(_FILMS.split())
GENRES = ("comedy", "drama", "horror", "western", "crime")
_HIGHEST = 30
_YES, _NO = "yes", "no"
Draw = Callable[[np.random.Generator], Row]

# Wordings with {list}, {x}, {thing} and {things}; the last two are unseen.
_PLACES = (
    "{list}\nWhat is the WHICH {thing}?",
    "Which {thing} comes WHICH in this list: {list}",
    "Name the WHICH {thing}.\n{list}",
    "Take the {things} {list} and say which is the WHICH.",
    "Here is a list of {things}: {list}. Give the WHICH {thing}.",
    "The {things} are {list}. Tell me the WHICH {thing}.",
    "Read this: {list}. What is its WHICH {thing}?",
)
_LISTS: Mapping[str, Sequence[str]] = {
    **{
        which: [wording.replace("WHICH", which) for wording in _PLACES]
        for which in ("first", "last", "second")
    },
    "count": (
        "{list}\nHow many {things} are there?",
        "How many {things} does this list have: {list}",
        "Say how many {things} you see.\n{list}",
        "Count the {things} {list}.",
        "Here is a list of {things}: {list}. How many are there?",
        "The {things} are {list}. Tell me how many {things} there are.",
        "Read this: {list}. How many {things} does it have?",
    ),
    "contains": (
        "{list}\nIs {x} one of the {things}?",
        "Does this list of {things} have {x}: {list}",
        "Say yes if {x} is a {thing} of the list.\n{list}",
        "Take the {things} {list} and say whether {x} is there.",
        "Here is a list of {things}: {list}. Is {x} in it?",
        "The {things} are {list}. Tell me whether {x} is one of them.",
        "Read this: {list}. Does it have {x}?",
    ),
}
_KINDS: Mapping[str, tuple[str, Sequence[str]]] = {
    "numbers": ("number", tuple(map(str, range(_HIGHEST)))),
    "words": ("word", WORDS),
    "films": ("film", FILMS),
}


def _pick(rng: np.random.Generator, values: Sequence[str], count: int) -> list[str]:
    return [values[n] for n in rng.permutation(len(values))[:count]]


def _list_row(rng: np.random.Generator, question: str, kind: str) -> Row:
    thing, values = _KINDS[kind]
    items = _pick(rng, values, int(rng.integers(2, 6)))
    inside = bool(rng.integers(2))
    left = [value for value in values if value not in items]
    x = items[int(rng.integers(len(items)))] if inside else left[int(rng.integers(len(left)))]
    answers = {
        "first": items[0],
        "second": items[1],
        "last": items[-1],
        "count": str(len(items)),
        "contains": _YES if inside else _NO,
    }
    row = {"list": ", ".join(items), "thing": thing, "things": kind, "answer": answers[question]}
    return row | ({"x": x} if question == "contains" else {})


def _number_row(rng: np.random.Generator, question: str) -> Row:
    a, b = (int(n) for n in rng.permutation(_HIGHEST // 2)[:2])
    answers = {"largest": max(a, b), "smallest": min(a, b), "sum": a + b}
    return {"a": str(a), "b": str(b), "answer": str(answers[question])}


def _neighbour_row(rng: np.random.Generator, step: int) -> Row:
    items = _pick(rng, WORDS, 4)
    at = int(rng.integers(1, 3))
    return {"list": ", ".join(items), "x": items[at], "answer": items[at + step]}


def _pair_row(rng: np.random.Generator, question: str) -> Row:
    a, b = _pick(rng, WORDS, 2)
    answers = {"swap": f"{b} {a}", "repeat": f"{a} {b} {a} {b}", "copy": f"{a} {b}"}
    return {"a": a, "b": b, "answer": answers[question]}


def _rated_row(rng: np.random.Generator) -> Row:
    films = _pick(rng, FILMS, 3)
    stars = [int(n) + 1 for n in rng.permutation(5)[:3]]
    rated = ", ".join(f"{film} {star}" for film, star in zip(films, stars, strict=True))
    at = int(rng.integers(3))
    best, low = films[int(np.argmax(stars))], films[int(np.argmin(stars))]
    return {"rated": rated, "x": films[at], "star": str(stars[at]), "best": best, "worst": low}


def _unseen_row(rng: np.random.Generator) -> Row:
    films = _pick(rng, FILMS, 4)
    seen, new = films[:3], films[3]
    old = seen[int(rng.integers(3))]
    pair = [old, new] if rng.integers(2) else [new, old]
    return {"list": ", ".join(seen), "a": pair[0], "b": pair[1], "answer": new}


def _genre_row(rng: np.random.Generator) -> Row:
    liked, other = _pick(rng, GENRES, 2)
    film = FILMS[int(rng.integers(len(FILMS)))]
    same = bool(rng.integers(2))
    genre = liked if same else other
    return {"liked": liked, "film": film, "genre": genre, "answer": _YES if same else _NO}


_OTHERS: Sequence[tuple[str, str, Draw, str, Sequence[str]]] = (
    (
        "largest",
        "numbers",
        lambda rng: _number_row(rng, "largest"),
        "{answer}",
        (
            "Which number is larger, {a} or {b}?",
            "{a} and {b}\nGive the larger number.",
            "Name the larger one: {a}, {b}",
            "Of {a} and {b}, say which is larger.",
            "Compare {a} and {b}. The larger number is",
            "Tell me which is larger: {a} or {b}.",
        ),
    ),
    (
        "smallest",
        "numbers",
        lambda rng: _number_row(rng, "smallest"),
        "{answer}",
        (
            "Which number is smaller, {a} or {b}?",
            "{a} and {b}\nGive the smaller number.",
            "Name the smaller one: {a}, {b}",
            "Of {a} and {b}, say which is smaller.",
            "Compare {a} and {b}. The smaller number is",
            "Tell me which is smaller: {a} or {b}.",
        ),
    ),
    (
        "sum",
        "numbers",
        lambda rng: _number_row(rng, "sum"),
        "{answer}",
        (
            "What is {a} plus {b}?",
            "{a} plus {b} is",
            "Add: {a} plus {b}",
            "Give the sum {a} plus {b}.",
            "Compute {a} plus {b}.",
            "Tell me what {a} plus {b} is.",
        ),
    ),
    (
        "after",
        "words",
        lambda rng: _neighbour_row(rng, 1),
        "{answer}",
        (
            "Which word comes right after {x}?\n{list}",
            "{list}\nName the word after {x}.",
            "In the list {list}, what stands after {x}?",
            "Give the word after {x} in {list}.",
            "Read {list} and say what is after {x}.",
            "The words are {list}. Tell me the word after {x}.",
        ),
    ),
    (
        "before",
        "words",
        lambda rng: _neighbour_row(rng, -1),
        "{answer}",
        (
            "Which word comes right before {x}?\n{list}",
            "{list}\nName the word before {x}.",
            "In the list {list}, what stands before {x}?",
            "Give the word before {x} in {list}.",
            "Read {list} and say what is before {x}.",
            "The words are {list}. Tell me the word before {x}.",
        ),
    ),
    (
        "swap",
        "words",
        lambda rng: _pair_row(rng, "swap"),
        "{answer}",
        (
            "Swap these words: {a} {b}",
            "{a} {b}\nSwap the two words.",
            "Write {a} {b} with the words swapped.",
            "Say the words {a} {b} swapped.",
            "Give {a} {b} after a swap.",
            "Please swap the words {a} {b}.",
        ),
    ),
    (
        "copy",
        "words",
        lambda rng: _pair_row(rng, "copy"),
        "{answer}",
        (
            "Copy these words: {a} {b}",
            "{a} {b}\nCopy the two words.",
            "Write a copy of {a} {b}.",
            "Say the words {a} {b} as a copy.",
            "Give {a} {b} as a copy.",
            "Please copy the words {a} {b}.",
        ),
    ),
    (
        "repeat",
        "words",
        lambda rng: _pair_row(rng, "repeat"),
        "{answer}",
        (
            "Say {a} {b} twice.",
            "{a} {b}\nRepeat it twice.",
            "Write {a} {b} twice.",
            "Twice {a} {b}, please.",
            "Give the words {a} {b} twice.",
            "Please write the words {a} {b} twice.",
        ),
    ),
    (
        "best",
        "recommendation",
        _rated_row,
        "{best}",
        (
            "A user rated films: {rated}. Which film is the best?",
            "{rated}\nName the best film.",
            "Stars of films: {rated}. The best film is",
            "Given the stars {rated}, say which film is the best.",
            "Which is the best film of {rated}?",
            "These are films with their stars: {rated}. Tell me the best film.",
        ),
    ),
    (
        "worst",
        "recommendation",
        _rated_row,
        "{worst}",
        (
            "A user rated films: {rated}. Which film is the worst?",
            "{rated}\nName the worst film.",
            "Stars of films: {rated}. The worst film is",
            "Given the stars {rated}, say which film is the worst.",
            "Which is the worst film of {rated}?",
            "These are films with their stars: {rated}. Tell me the worst film.",
        ),
    ),
    (
        "stars",
        "recommendation",
        _rated_row,
        "{star}",
        (
            "A user rated films: {rated}. How many stars has {x}?",
            "{rated}\nGive the stars of {x}.",
            "Stars of films: {rated}. The stars of {x} are",
            "Given the stars {rated}, say the stars of {x}.",
            "Which stars has {x} among {rated}?",
            "These are films with their stars: {rated}. Tell me the stars of {x}.",
        ),
    ),
    (
        "unseen",
        "recommendation",
        _unseen_row,
        "{answer}",
        (
            "A user has seen {list}. Recommend one that is new: {a} or {b}?",
            "Seen: {list}\nWhich is new, {a} or {b}?",
            "After {list}, which film is new to the user: {a} or {b}?",
            "Recommend {a} or {b}, whichever is new after {list}.",
            "Films seen: {list}. New is {a} or {b}?",
            "The user knows {list}. Tell me which is new: {a} or {b}.",
        ),
    ),
    (
        "genre",
        "recommendation",
        _genre_row,
        "{answer}",
        (
            "A user likes {liked} films. Will the user like {film}, a {genre}?",
            "Likes: {liked}\nWill {film}, a {genre}, be liked?",
            "The user who likes {liked} is offered {film}, a {genre}. Will it be liked?",
            "Given a taste for {liked}, say whether {film}, a {genre}, will be liked.",
            "{film} is a {genre}. Does it suit a user who likes {liked}?",
            "Someone likes {liked}. Tell me whether {film}, a {genre}, will be liked.",
        ),
    ),
)


def toy_tasks(rows: int = 1000, seed: int = 0) -> list[TaskSet]:
    """Make 28 tasks, each with unseen wordings: 15 about lists and 13 others.

    Their clusters are the questions about lists, "numbers", "words" and "recommendation".

    Args:
      rows: number of data of each task; a task with fewer different data has those.
      seed: of all data.

    Example:
      >>> from jaxrec.texts import toy_tasks
      >>> tasks = toy_tasks(rows=5)
      >>> len(tasks), tasks[0].name, sorted(tasks[0].rows[0])
      (28, 'first-numbers', ['answer', 'list', 'thing', 'things'])
    """
    made: list[tuple[str, str, Draw, str, Sequence[str], int]] = []
    for question, wordings in _LISTS.items():
        for kind in _KINDS:
            rule = functools.partial(_list_row, question=question, kind=kind)
            made.append((f"{question}-{kind}", question, rule, "{answer}", wordings, 2))
    made += [(*task, 1) for task in _OTHERS]
    tasks = []
    for number, (name, cluster, draw, target, wordings, unseen) in enumerate(made):
        templates = tuple(
            Template(
                name=f"{name}-{n}", source=source, target=target, seen=n < len(wordings) - unseen
            )
            for n, source in enumerate(wordings)
        )
        rng = np.random.default_rng([seed, number])
        tasks.append(
            TaskSet(
                name=name, rows=_distinct(draw, rng, rows), templates=templates, cluster=cluster
            )
        )
    return tasks


def _distinct(draw: Draw, rng: np.random.Generator, count: int) -> list[Row]:
    """Draw data, without the repeats."""
    drawn: Iterable[Row] = (draw(rng) for _ in range(count))
    return list({tuple(sorted(row.items())): row for row in drawn}.values())
