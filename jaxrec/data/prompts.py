"""Text prompts: templates filled with data, tasks that share a model, and their batches.

A task has data and several templates; a datum gives the fields that a template names. Every batch
has the same number of rows of each task, so its shapes never change: tasks of like length lie in
one group of rows, padded to one length, and a batch is one block of rows a group.

What a row holds depends on the seed, the task and the row's place in the task's stream alone. Every
datum comes once an epoch of its task, in a new order, with a template drawn anew among the seen
ones; so over many epochs it meets them all (P5 draws a few templates a datum and epoch likewise).
"""

import dataclasses
import functools
import itertools
import string
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrec.core import ConfigError, DataError, nearest
from jaxrec.data.pipeline import endless, host_rows

if TYPE_CHECKING:
    import grain

Fields = Mapping[str, str]
# Lengths are rounded up to a multiple of this.
_MULTIPLE = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Template:
    """A prompt with holes: "What did {user} buy after {items}?".

    Attributes:
      name: of the template, unique within its task.
      source: what the model reads.
      target: what it shall write.
      seen: whether training uses it; the others show how much hangs on the wording.
    """

    name: str
    source: str
    target: str
    seen: bool = True

    def fill(self, fields: Fields) -> tuple[str, str]:
        """Source and target with the fields put in.

        Raises:
          ConfigError: a hole that no field fills.
        """
        try:
            return self.source.format_map(fields), self.target.format_map(fields)
        except KeyError as error:
            key = str(error.args[0])
            raise ConfigError(
                f"template {self.name!r} asks for {{{key}}}, which the data do not give"
                f"{nearest(key, fields)}; fields: {', '.join(fields)}"
            ) from error


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """Data with the templates that they fill.

    Attributes:
      name: of the task.
      templates: some of them seen.
      size: number of data.
      fields: from a datum's number and a generator of its own to the fields.
    """

    name: str
    templates: tuple[Template, ...]
    size: int
    fields: Callable[[int, np.random.Generator], Fields]

    def __post_init__(self) -> None:
        if self.size < 1:
            raise DataError(f"task {self.name!r} has no data to train on")
        if not self.seen:
            raise ConfigError(f"task {self.name!r} has no template that training may use")

    @functools.cached_property
    def seen(self) -> tuple[Template, ...]:
        """Templates of the training."""
        return tuple(template for template in self.templates if template.seen)

    def template(self, name: str) -> Template:
        """The template of that name.

        Raises:
          ConfigError: there is none.
        """
        known = {template.name: template for template in self.templates}
        if name not in known:
            raise ConfigError(
                f"task {self.name!r} has no template {name!r}{nearest(name, known)}; "
                f"templates: {', '.join(known)}"
            )
        return known[name]

    def example(self, seed: int, place: int) -> tuple[str, str]:
        """Source and target at a place of the task's stream."""
        key = sum(map(ord, self.name))
        epoch, index = divmod(place, self.size)
        datum = int(self._order(seed, key, epoch)[index])
        rng = np.random.default_rng([seed, key, 1, place])
        template = self.seen[int(rng.integers(len(self.seen)))]
        return template.fill(self.fields(datum, rng))

    @functools.cached_property
    def _order(self) -> Callable[[int, int, int], np.ndarray]:
        # Two epochs: a batch may end one and begin the next.
        return functools.lru_cache(maxsize=2)(
            lambda seed, key, epoch: np.random.default_rng([seed, key, 0, epoch]).permutation(
                self.size
            )
        )


def holes(template: Template) -> set[str]:
    """Names of the fields that a template asks for."""
    parts = [*string.Formatter().parse(template.source), *string.Formatter().parse(template.target)]
    return {name for _, name, _, _ in parts if name}


def encode_texts(
    tokenizer: Any, texts: Sequence[str], length: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of texts, ended as the tokenizer ends them and padded on the right.

    Args:
      tokenizer: of transformers, with a fast backend.
      texts: N strings.
      length: T; a longer text loses tokens before its last one. 0: that of the longest text,
        rounded up to a multiple of 8.

    Returns:
      `[N, T]` int32 tokens and `[N, T]` bool validity.
    """
    rows = [row.ids for row in tokenizer.backend_tokenizer.encode_batch_fast(list(texts))]
    length = length or _rounded(max(map(len, rows), default=1))
    tokens = np.full((len(rows), length), tokenizer.pad_token_id or 0, np.int32)
    valid = np.zeros(tokens.shape, bool)
    for place, row in enumerate(rows):
        row = row if len(row) <= length else [*row[: length - 1], row[-1]]
        tokens[place, : len(row)] = row
        valid[place, : len(row)] = True
    return tokens, valid


def encode_examples(
    tokenizer: Any, examples: Sequence[tuple[str, str]], source: int = 0, target: int = 0
) -> dict[str, np.ndarray]:
    """Sources and targets as a batch of an encoder-decoder, see `objectives.language_loss`.

    The decoder begins with the padding token (T5). A target's tokens share a weight of 1, so that
    the loss is the mean over examples of the mean over their tokens (P5).

    Args:
      tokenizer: as of `encode_texts`, which ends texts with an end-of-text token.
      examples: N pairs.
      source: S, as `length` of `encode_texts`.
      target: likewise of the targets; the batch's T is one more.

    Returns:
      "source" `[N, S]`, "source_valid", "tokens" `[N, T]`, "valid" and "weights" `[N, T]` float32.
    """
    read, read_valid = encode_texts(tokenizer, [source for source, _ in examples], source)
    written, valid = encode_texts(tokenizer, [target for _, target in examples], target)
    first = np.full((len(written), 1), tokenizer.pad_token_id or 0, np.int32)
    weights = valid / np.maximum(valid.sum(axis=1, keepdims=True), 1)
    return {
        "source": read,
        "source_valid": read_valid,
        "tokens": np.concatenate([first, written], axis=1),
        "valid": np.pad(valid, ((0, 0), (1, 0)), constant_values=True),
        "weights": np.pad(weights, ((0, 0), (1, 0))).astype(np.float32),
    }


@dataclasses.dataclass(frozen=True, eq=False)
class Mixture:
    """Tasks that are trained together.

    Attributes:
      tasks: what.
      rows: of each in every batch.
      seed: of all that is drawn.

    Raises:
      ConfigError: no tasks, two of one name, or a task without a row.
    """

    tasks: tuple[Task, ...]
    rows: tuple[int, ...]
    seed: int

    def __post_init__(self) -> None:
        names = [task.name for task in self.tasks]
        if not names or len(set(names)) < len(names):
            raise ConfigError(f"a mixture needs tasks of different names, got {names}")
        if len(self.rows) != len(names) or min(self.rows) < 1:
            raise ConfigError(f"each of the tasks {names} needs a row a batch, got {self.rows}")

    def examples(self, task: int, step: int, rows: slice) -> list[tuple[str, str]]:
        """Rows of a task in the batch of a step."""
        first = step * self.rows[task]
        return [
            self.tasks[task].example(self.seed, first + row)
            for row in range(*rows.indices(self.rows[task]))
        ]

    def corpus(self, count: int) -> list[str]:
        """The texts of the first `count` places of every task: what a tokenizer is trained on."""
        pairs = [task.example(self.seed, place) for task in self.tasks for place in range(count)]
        return [text for pair in pairs for text in pair]


@dataclasses.dataclass(frozen=True)
class Group:
    """Tasks whose rows are padded to one length.

    Attributes:
      tasks: numbers in the mixture.
      source: S, tokens of the sources.
      target: tokens of the targets, the start token not counted.
    """

    tasks: tuple[int, ...]
    source: int
    target: int


def group_tasks(mixture: Mixture, tokenizer: Any, groups: int, sample: int = 512) -> list[Group]:
    """Put tasks of like length together, so that few shapes hold little padding.

    Args:
      mixture: of the tasks.
      tokenizer: as of `encode_examples`.
      groups: most groups.
      sample: places of each task whose lengths are looked at. A text beyond the longest of them
        plus a few tokens is cut, see `encode_texts`.

    Raises:
      ConfigError: no groups.
    """
    if groups < 1:
        raise ConfigError(f"groups must be at least 1, got {groups}")
    lengths = []
    for task in mixture.tasks:
        batch = encode_examples(
            tokenizer, [task.example(mixture.seed, place) for place in range(sample)]
        )
        longest = batch["source_valid"].sum(axis=1).max(), batch["valid"].sum(axis=1).max() - 1
        lengths.append((_rounded(int(longest[0]) + 2), int(longest[1]) + 1))
    order = sorted(range(len(lengths)), key=lambda task: lengths[task])

    def cells(parts: Sequence[Sequence[int]]) -> int:
        return sum(
            max(lengths[task][0] for task in part) * sum(mixture.rows[task] for task in part)
            for part in parts
        )

    # Groups of tasks of neighbouring lengths: of all ways to cut their order the least padded.
    ways = (
        [order[begin:end] for begin, end in itertools.pairwise((0, *cuts, len(order)))]
        for count in range(min(groups, len(order)))
        for cuts in itertools.combinations(range(1, len(order)), count)
    )
    return [
        Group(
            tuple(sorted(part)),
            max(lengths[task][0] for task in part),
            max(lengths[task][1] for task in part),
        )
        for part in min(ways, key=cells)
    ]


def prompt_batches(
    mixture: Mixture,
    groups: Sequence[Group],
    tokenizer: Any,
    shard: tuple[int, int] = (0, 1),
) -> "grain.IterDataset[dict[str, Any]]":
    """Return an endless, seeded, resumable Grain dataset of batches of all tasks.

    Args:
      mixture: tasks and their rows.
      groups: of `group_tasks`.
      tokenizer: as of `encode_examples`.
      shard: (this host, hosts): each host gets its part of every task's rows.

    Returns:
      Batches: "group_0", "group_1", ... -> what `encode_examples` gives.

    Raises:
      ConfigError: rows of a task that the hosts cannot share evenly.
    """
    parts = [host_rows(rows, shard) for rows in mixture.rows]

    def batch(step: int) -> dict[str, Any]:
        return {
            f"group_{number}": encode_examples(
                tokenizer,
                [
                    example
                    for task in group.tasks
                    for example in mixture.examples(task, step, parts[task])
                ],
                group.source,
                group.target,
            )
            for number, group in enumerate(groups)
        }

    return endless(batch, max(mixture.rows), 0)


def _rounded(length: int) -> int:
    return -(-length // _MULTIPLE) * _MULTIPLE
