"""The data of systems that ask whether a user will like an item: ratings, or files of questions.

ratings -> click windows -> training, validation and test windows
files of instruction records -> the same windows, with the wording of the files
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.data import (
    ClickRecords,
    ClickWindows,
    DataConfig,
    Interactions,
    ItemTable,
    Template,
    click_windows,
    load_interactions,
    published_split,
    read_click_records,
    split_users,
)
from jaxrec.data.corpora import find_text
from jaxrec.eval import pooled_auc
from jaxrec.texts import clicks as click_table
from jaxrec.texts.answer_kinds import AnswerOptions
from jaxrec.texts.click_tasks import CLICK, PUBLISHED, SWAPPED, quoted
from jaxrec.texts.datum import Datum
from jaxrec.texts.questions import Questions
from jaxrec.texts.sources import NO, YES

PARTS = ("train", "valid", "test")
ClickSplit = Literal["published", "users"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClickDataConfig(DataConfig):
    """Ratings to cut questions from, or files with the questions themselves.

    With files, no ratings are read, and the other settings of the data have no effect.

    Attributes:
      train_file: JSON file of instruction records to train on (see `read_click_records`), as it is
        or below JAXREC_DATA; "" to cut the questions from ratings.
      valid_file: file of the questions that rank checkpoints.
      test_file: file of the questions that are measured.
      answers: output of a record whose target is liked, and that of another one.
      repeated_titles: "error" rejects records in which a title may mean two items, "allow" takes
        them as they are, see `read_click_records`.

    Raises:
      ConfigError: some of the three files are missing, a file is given beside ratings, or the two
        answers are equal.

    Example:
      >>> from jaxrec.texts import ClickDataConfig
      >>> ClickDataConfig(min_count=0).from_records
      False
    """

    train_file: str = ""
    valid_file: str = ""
    test_file: str = ""
    answers: tuple[str, str] = ("Yes.", "No.")
    repeated_titles: Literal["error", "allow"] = "error"

    def __post_init__(self) -> None:
        """Reject settings that contradict one another."""
        super().__post_init__()
        files = {f"data.{part}_file": getattr(self, f"{part}_file") for part in PARTS}
        missing = [name for name, file in files.items() if not file]
        if missing and len(missing) < len(files):
            raise ConfigError(
                f"{missing[0]} is missing; give all of {', '.join(files)}, or none of them to cut "
                "questions from ratings"
            )
        if not missing and (self.from_file or self.sample_users):
            name = "from_file" if self.from_file else "sample_users"
            raise ConfigError(
                f"data.{name} is of ratings, and questions are read from data.train_file; leave "
                "one of them out"
            )
        for name, usual in (("answers", ("Yes.", "No.")), ("repeated_titles", "error")):
            if missing and getattr(self, name) != usual:
                raise ConfigError(
                    f"data.{name} is of files of questions, and there are none; leave it out, or "
                    "give data.train_file"
                )
        if len(set(self.answers)) != 2 or not all(self.answers):
            raise ConfigError(f"data.answers {self.answers} must be two different texts")

    @property
    def from_records(self) -> bool:
        """Whether questions are read from files."""
        return bool(self.train_file)


def as_click_data(data: DataConfig) -> ClickDataConfig:
    """The settings of ratings as `ClickDataConfig`, so that config files may use `DataConfig`.

    Example:
      >>> from jaxrec.data import DataConfig
      >>> as_click_data(DataConfig(name="ml-1m")).from_records
      False
    """
    return data if isinstance(data, ClickDataConfig) else ClickDataConfig(**vars(data))


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ClickParts:
    """The data of a run.

    Attributes:
      train: windows to train on.
      valid: windows that rank checkpoints.
      test: windows that are measured.
      asked: users and items of all validation and test windows, `[N]` each. Windows that
        `valid_windows` and `test_windows` leave out are included.
      titles: of all items.
      names: how prompts write the items.
      data: what the windows were cut from; for files, the opinions that training records state, 1
        for liked and 0 for disliked.
      digest: sha256 of the files; "" for ratings.
      templates: the wording of the questions and, where it can be made, that with the answers named
        in the other order.
      answers: of a liked target and of another one.
    """

    train: ClickWindows
    valid: ClickWindows
    test: ClickWindows
    asked: tuple[np.ndarray, np.ndarray]
    titles: list[str]
    names: list[str]
    data: Interactions
    digest: str = ""
    templates: Mapping[str, Template] = dataclasses.field(
        default_factory=lambda: {name: CLICK.template(name) for name in (PUBLISHED, SWAPPED)}
    )
    answers: tuple[str, str] = ("Yes.", "No.")

    def describe(self) -> Mapping[str, object]:
        """Say what the run is measured on: JSON-able."""
        counts = {name: len(getattr(self, name)) for name in PARTS}
        users = len(np.unique(self.test.user))
        facts = {"dataset": self.data.name, "source": self.data.source, "test_users": users}
        return facts | counts | {"fingerprint": self.digest or self.data.fingerprint()}

    def __str__(self) -> str:
        """What a command says before it trains."""
        facts = self.describe()
        return (
            f"{facts['dataset']}: {facts['train']:,} windows to train on, {facts['valid']:,} for "
            f"validation, {facts['test']:,} of {facts['test_users']} users for test"
            + "".join(f"; {doubt}" for doubt in self._doubts())
        )

    def _doubts(self) -> Iterator[str]:
        """What a reader of the figures should know: no error, because it may be meant so."""
        counts = Counter(self.titles)
        shared = [title for title in self.titles if counts[title] > 1]
        if shared:
            yield (
                f"prompts cannot tell {len(shared)} items apart that share their titles, such as "
                f"{shared[0]!r}"
            )
        known = _questions(self.train)
        for name in ("valid", "test"):
            again = len(known & _questions(getattr(self, name)))
            if again:
                yield f"{again:,} {name} questions are also asked in training"


def _questions(windows: ClickWindows) -> set[bytes]:
    """The different questions of windows with a history, which alone are those of one user."""
    rows = np.column_stack([windows.history, windows.liked, windows.target])
    return {row.tobytes() for row in rows[(windows.history >= 0).any(axis=1)]}


def measure_clicks(labels: np.ndarray, users: np.ndarray, gaps: np.ndarray) -> dict[str, float]:
    """The metrics of `GapAuc`; without an AUC within users, "mean_auc" is the AUC over all.

    Args:
      labels: `[N]` bool, whether the first answer is right.
      users: `[N]`.
      gaps: `[N]`, how much more the model expects the first answer than the second.

    Raises:
      DataError: all labels are equal.

    Example:
      >>> import numpy as np
      >>> from jaxrec.texts import measure_clicks
      >>> measure_clicks(np.array([True, False]), np.array([0, 1]), np.array([0.4, 0.1]))
      {'mean_auc': 1.0, 'auc': 1.0}
    """
    if not click_table.both_labels(labels, users):
        auc = pooled_auc(labels, gaps)
        return {"mean_auc": auc, "auc": auc}
    pairs = zip(users.tolist(), labels.tolist(), strict=True)
    data = [Datum(user=user, answer=YES if label else NO) for user, label in pairs]
    asked = Questions(data=data, prompts=[""] * len(data))
    return CLICK.metric.measure(gaps, asked, AnswerOptions())


def load_click_parts(
    config: ClickDataConfig,
    *,
    split: ClickSplit,
    history: int,
    threshold: float,
    shots: int,
    seed: int,
    valid_windows: int,
    test_windows: int,
) -> ClickParts:
    """Read the data, cut or read the windows, and draw those to train on if there are to be few.

    Args:
      config: the data.
      split: "published" takes the last 10,000 windows, "users" takes all windows and splits them by
        users. Files are split already.
      history: number of items of a window before the one asked about; files have their own.
      threshold: an item is liked if its rating is above this; files say what is liked.
      shots: number of windows to train on, drawn by the seed; 0 for all.
      seed: seed of the draw.
      valid_windows: number of validation windows, spread evenly over users; 0 for all.
      test_windows: number of test windows, spread evenly over users; 0 for all.

    Raises:
      DataError: the data have no such windows, all training windows have one answer, or an AUC is
        not defined on them: of ratings none within users, of files none at all; or a file is
        damaged, see `read_click_records`.
      ConfigError: more shots than windows.
    """
    parts = (
        _of_records(config)
        if config.from_records
        else _of_ratings(config, split, history, threshold)
    )
    train = parts.train
    if shots > len(train):
        raise ConfigError(
            f"shots is {shots}, and there are only {len(train):,} training windows; lower it"
        )
    if shots:
        rng = np.random.default_rng(seed)
        train = train.take(rng.choice(len(train), shots, replace=False))
    valid = click_table.spread(parts.valid, valid_windows)
    test = click_table.spread(parts.test, test_windows)
    for name, part in (("valid", valid), ("test", test)):
        if config.from_records and len(np.unique(part.label)) < 2:
            raise DataError(
                f"all {len(part)} questions of {getattr(config, f'{name}_file')} have one answer, "
                f"so there is no AUC; give a file with both, or more windows "
                f"(eval.{name}_windows)"
            )
        if not config.from_records and not click_table.both_labels(part.label, part.user):
            raise DataError(
                f"none of {len(np.unique(part.user))} users in {len(part)} {name} windows likes "
                f"some of the items asked about and dislikes others, so there is no AUC within "
                f"users; set threshold {threshold:g} between their ratings, or take more windows "
                f"(eval.{name}_windows)"
            )
    if len(np.unique(parts.train.label)) < 2:
        where = config.train_file if config.from_records else parts.data.name
        raise DataError(
            f"all {len(parts.train):,} training questions of {where} have one answer, so there is "
            "nothing to learn; give questions with both answers"
        )
    return dataclasses.replace(parts, train=train, valid=valid, test=test)


def _of_ratings(
    config: DataConfig, split: ClickSplit, history: int, threshold: float
) -> ClickParts:
    data = load_interactions(config)
    windows = click_windows(data, history, threshold)
    train, valid, test = (published_split if split == "published" else split_users)(windows)
    titles = data.items.labels()
    return ClickParts(
        train=train,
        valid=valid,
        test=test,
        asked=_asked(valid, test),
        titles=titles,
        names=quoted(titles),
        data=data,
    )


def _of_records(config: ClickDataConfig) -> ClickParts:
    paths = {part: find_text(getattr(config, f"{part}_file")) for part in PARTS}
    allow = config.repeated_titles == "allow"
    records = read_click_records(paths, config.answers, allow_repeats=allow)
    train, valid, test = (records.windows[part] for part in PARTS)
    return ClickParts(
        train=train,
        valid=valid,
        test=test,
        asked=_asked(valid, test),
        titles=records.titles,
        names=records.names,
        data=_opinions(records, paths["train"].name, str(paths["train"])),
        digest=records.digest,
        templates=_templates(records, config.answers),
        answers=config.answers,
    )


def _asked(valid: ClickWindows, test: ClickWindows) -> tuple[np.ndarray, np.ndarray]:
    return (
        np.concatenate([valid.user, test.user]),
        np.concatenate([valid.target, test.target]),
    )


def _opinions(records: ClickRecords, name: str, source: str) -> Interactions:
    """What the training records say that users liked and disliked, as ratings of 1 and 0.

    Users and items have the numbers of the windows; those of other files have no rating.
    """
    train = records.windows["train"]
    shown = train.history >= 0
    rows = np.broadcast_to(np.arange(len(train))[:, None], shown.shape)[shown]
    user = np.concatenate([train.user[rows], train.user])
    item = np.concatenate([train.history[shown], train.target])
    rating = np.concatenate([train.liked[shown], train.label])
    time = np.concatenate([2 * rows, 2 * np.arange(len(train)) + 1])
    order = np.lexsort((time, user))
    users = 1 + max(int(part.user.max()) for part in records.windows.values())
    titles = np.array(records.titles, dtype=object)
    return Interactions(
        user=user[order].astype(np.int32),
        item=item[order].astype(np.int32),
        rating=rating[order].astype(np.float32),
        time=time[order].astype(np.int64),
        row=np.arange(len(order), dtype=np.int64),
        user_ids=np.arange(1, users + 1).astype(str),
        items=ItemTable(np.arange(1, len(titles) + 1).astype(str), {"title": titles}),
        name=name,
        source=source,
        time_unit="order",
    )


def _templates(records: ClickRecords, answers: tuple[str, str]) -> dict[str, Template]:
    """The wording of the files, and the same with the answers named in the other order."""
    plain = [text.replace("{", "{{").replace("}", "}}") for text in records.wording]
    instruction, liked, disliked, before, after = plain
    published = dataclasses.replace(
        CLICK.template(PUBLISHED),
        instruction=instruction,
        source=f"{liked}{{liked}}\n{disliked}{{disliked}}\n{before}{{asked}}{after}",
    )
    one, other = answers
    swapped = instruction.replace(one, "\0").replace(other, one).replace("\0", other)
    if one not in instruction or other not in instruction:
        return {PUBLISHED: published}
    control = dataclasses.replace(published, name=SWAPPED, instruction=swapped, seen=False)
    return {PUBLISHED: published, SWAPPED: control}
