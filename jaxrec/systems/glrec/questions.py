"""GLRec's questions: whether a user likes an item, or which of two, with paths in the prompt.

The wording is that of TALLRec, with one line of paths before the question. The pair-wise question
is about two windows of one user, of which one asked about a liked item and the other did not.

Shapes: `N` questions, `H` items of a history.
"""

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence

import numpy as np

from jaxrec.core import DataError
from jaxrec.data import ClickWindows, Instruction, Interactions, Template
from jaxrec.systems.glrec.config import GlrecConfig
from jaxrec.systems.glrec.graph import build_graph
from jaxrec.systems.glrec.paths import JOINTS, Path, PathFinder, Question, path_text
from jaxrec.systems.glrec.planted import planted_paths
from jaxrec.texts import (
    PUBLISHED,
    Choice,
    ClickData,
    ClickParts,
    render_window,
    window_datum,
)

PAIR_ANSWERS = ("[A].", "[B].")
_PAIR = Template(
    name="pair",
    instruction=(
        "Given the user's preference and unpreference, identify which of two {kind}s the user will "
        'like by answering "[A]." or "[B].".'
    ),
    source=(
        "User Preference: {liked}\nUser Unpreference: {disliked}\n"
        "[A] {asked}\n[B] {other}\nWhich {kind} will the user like?"
    ),
    target="{answer}",
)
_WORD = re.compile(r"\w+")
# Stands for what a prompt fills in; no text has it.
_HOLE = "\0"
_BETWEEN = " \n,.?"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PathQuestions:
    """Questions with their paths.

    Attributes:
      windows: N windows, whose histories the questions show and whose targets they ask about.
      other: `[N]` the other item of a pair; -1 in point-wise questions.
      label: `[N]` bool, whether the first answer is right.
      paths: of each question, in the order of the prompt; first those of the target, then those of
        the other item.
      telling: `[N]` place of the planted path; -1 for none.
    """

    windows: ClickWindows
    other: np.ndarray
    label: np.ndarray
    paths: Sequence[Sequence[Path]]
    telling: np.ndarray

    def __len__(self) -> int:
        """N."""
        return len(self.label)

    @property
    def user(self) -> np.ndarray:
        """`[N]` user numbers."""
        return self.windows.user

    def take(self, rows: np.ndarray) -> "PathQuestions":
        """Some questions."""
        return PathQuestions(
            windows=self.windows.take(rows),
            other=self.other[rows],
            label=self.label[rows],
            paths=[self.paths[row] for row in rows.tolist()],
            telling=self.telling[rows],
        )

    def without_context(self) -> "PathQuestions":
        """The same questions without history and paths."""
        windows = self.windows
        bare = dataclasses.replace(windows, history=np.full_like(windows.history, -1))
        return dataclasses.replace(self, windows=bare, paths=[()] * len(self))

    def reordered(self, rng: np.random.Generator) -> "PathQuestions":
        """The same questions with their paths in random orders."""
        return self.ordered([rng.permutation(len(paths)).tolist() for paths in self.paths])

    def ordered(self, orders: Sequence[Sequence[int]]) -> "PathQuestions":
        """The same questions with their paths in given orders; `telling` moves with them."""
        pairs = list(zip(self.paths, orders, strict=True))
        telling = [
            order.index(place) if place >= 0 else -1
            for order, place in zip(orders, self.telling.tolist(), strict=True)
        ]
        return dataclasses.replace(
            self,
            paths=[[paths[place] for place in order] for paths, order in pairs],
            telling=np.array(telling),
        )


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Writer:
    """Writes questions and finds their paths.

    Attributes:
      config: of the run.
      parts: the data.
      users: text of each user.
      finder: finds paths.
    """

    config: GlrecConfig
    parts: ClickParts
    users: Sequence[str]
    finder: PathFinder

    @property
    def answers(self) -> tuple[str, str]:
        """The two answers."""
        return PAIR_ANSWERS if self.config.form == "pair" else self.parts.answers

    @functools.cached_property
    def template(self) -> Template:
        """The wording, with a hole for the line of paths."""
        plain = _PAIR if self.config.form == "pair" else self.parts.templates[PUBLISHED]
        head, question = plain.source.split("\n", 2)[:2], plain.source.split("\n", 2)[2]
        source = "\n".join([*head, f"{{paths}}{question}"])
        target = "{answer} {said}" if self.config.say_item else "{answer}"
        return dataclasses.replace(plain, source=source, target=target)

    @functools.cached_property
    def phrases(self) -> list[str]:
        """The parts of a prompt that all questions share.

        They are tokens of a model from scratch, which makes its texts less than half as long.
        """
        fields = dict.fromkeys(self.template.holes, _HOLE) | {"kind": self.config.kind}
        parts = self.template.instruct(fields).prompt.split(_HOLE)
        joints = ["Paths: ", ", ", *JOINTS] if self.config.paths.count else [", "]
        return [*(part for part in parts if part.strip(_BETWEEN)), *joints]

    def questions(self, windows: ClickWindows, seed: int) -> PathQuestions:
        """Make the questions of some windows and find their paths.

        Args:
          windows: of one part.
          seed: of the order of pairs.

        Raises:
          DataError: no pair of windows asks about a liked and another item of one user.
        """
        config = self.config
        if config.form == "pair":
            windows, other, label = _pairs(windows, seed)
        else:
            other, label = np.full(len(windows), -1, np.int32), windows.label
        telling = np.full(len(windows), -1)
        if config.paths.planted:
            found, telling = planted_paths(
                windows.target,
                label,
                len(self.users),
                config.paths.count,
                (0, len(config.paths.verbs) - 1),
            )
        else:
            found = [
                [
                    path
                    for item in (windows.target[row], other[row])
                    if item >= 0
                    for path in self._find(windows, row, int(item))
                ]
                for row in range(len(windows))
            ]
        return PathQuestions(
            windows=windows, other=other, label=label, paths=found, telling=telling
        )

    def _find(self, windows: ClickWindows, row: int, item: int) -> list[Path]:
        user, history, liked = windows.user[row], windows.history[row], windows.liked[row]
        return self.finder.find(Question(int(user), history, liked, item))

    def texts(self, questions: PathQuestions) -> list[list[str]]:
        """The paths of each question as sentences."""
        names, verbs = self.parts.names, self.config.paths.verbs
        return [
            [path_text(path, self.users, names, verbs) for path in paths]
            for paths in questions.paths
        ]

    def records(self, questions: PathQuestions, *, answered: bool = False) -> list[Instruction]:
        """Questions as records.

        Args:
          questions: N questions.
          answered: with all that training is to write, such as the item after the answer.
        """
        template = self.template
        if not answered:
            template = dataclasses.replace(template, target="{answer}")
        data = ClickData(windows={}, names=self.parts.names, kind=self.config.kind)
        choice, records = Choice(self.answers), []
        for row, sentences in enumerate(self.texts(questions)):
            datum = window_datum(questions.windows, row)
            fields = dict(render_window(datum, data))
            other = int(questions.other[row])
            first = bool(questions.label[row])
            fields["other"] = data.names[other] if other >= 0 else ""
            fields["paths"] = f"Paths: {' '.join(sentences)}\n" if sentences else ""
            fields["answer"] = choice.texts[0 if first else 1]
            fields["said"] = fields["asked"] if first or other < 0 else fields["other"]
            records.append(template.instruct(fields))
        return records


def make_writer(config: GlrecConfig, parts: ClickParts) -> Writer:
    """Build the graph and what is needed to write questions.

    Raises:
      DataError: see `build_graph`.
      ConfigError: the users' text has a hole that no field fills.
    """
    users = user_texts(parts.data, config.paths.user_text)
    records = config.data.from_records
    bounds = (0.5,) if records else config.paths.bounds
    finder = PathFinder(
        graph=build_graph(parts.data, bounds, parts.asked),
        liked_from=1 if records else config.paths.liked_from(config.threshold),
        shapes=config.paths.shapes,
        count=config.paths.count,
        overlap=config.paths.overlap,
        user_words=[words_of(text) for text in users],
        item_words=[words_of(title) for title in parts.titles],
    )
    return Writer(config=config, parts=parts, users=users, finder=finder)


def user_texts(data: Interactions, template: str) -> list[str]:
    """What prompts call the users.

    Args:
      data: its users have fields.
      template: with holes {id} and the names of fields.

    Raises:
      ConfigError: a hole that no field fills.

    Example:
      >>> from jaxrec.systems.glrec import user_texts
      >>> from jaxrec.testing import tiny_interactions
      >>> user_texts(tiny_interactions(users=2), "user {id}")
      ['user u000', 'user u001']
    """
    named = Template(name="paths.user_text", source=template, target="")
    columns: Mapping[str, Sequence[str]] = {
        "id": data.user_ids.tolist(),
        **{name: column.tolist() for name, column in data.user_fields.items()},
    }
    rows = zip(*columns.values(), strict=True)
    return [named.ask(dict(zip(columns, map(str, row), strict=True))) for row in rows]


def words_of(text: str) -> frozenset[str]:
    """The words of a text, in lower case.

    Example:
      >>> from jaxrec.systems.glrec import words_of
      >>> sorted(words_of("Star Wars (1977)"))
      ['1977', 'star', 'wars']
    """
    return frozenset(_WORD.findall(text.lower()))


def _pairs(windows: ClickWindows, seed: int) -> tuple[ClickWindows, np.ndarray, np.ndarray]:
    """Join each window with the next one of its user whose target has the other label.

    Returns:
      Windows, `[N]` the other item, and `[N]` bool whether the window's target is the liked one.
      The target of half of the windows is exchanged with the other item.
    """
    rows, others = [], []
    following: dict[tuple[int, bool], int] = {}
    for row in range(len(windows) - 1, -1, -1):
        user, label = int(windows.user[row]), bool(windows.label[row])
        after = following.get((user, not label))
        if after is not None:
            item = int(windows.target[after])
            if item not in windows.history[row].tolist() and item != windows.target[row]:
                rows.append(row)
                others.append(item)
        following[user, label] = row
    if not rows:
        raise DataError(
            f"no user of {len(windows)} windows likes one item asked about and dislikes another, "
            "so there are no pairs; take more windows, or set --form point"
        )
    taken, other = windows.take(np.array(rows[::-1])), np.array(others[::-1], np.int32)
    turned = np.random.default_rng(seed).random(len(other)) < 0.5
    target = np.where(turned, other, taken.target).astype(np.int32)
    other = np.where(turned, taken.target, other).astype(np.int32)
    return dataclasses.replace(taken, target=target), other, taken.label != turned
