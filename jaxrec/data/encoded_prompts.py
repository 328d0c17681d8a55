"""Prompts as token batches of an encoder-decoder.

Every batch has the same number of rows of each task, so its shapes never change. Tasks of similar
length form a group whose rows are padded to one length, and a batch is one block of rows for each
group.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrec.core import ConfigError
from jaxrec.data.pipeline import endless, host_rows
from jaxrec.data.prompts import Mixture

if TYPE_CHECKING:
    import grain

# Lengths are rounded up to a multiple of this.
_MULTIPLE = 8


def encode_texts(
    tokenizer: Any, texts: Sequence[str], length: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Tokenize texts, end them as the tokenizer does, and pad them on the right.

    Args:
      tokenizer: of transformers, with a fast backend.
      texts: N strings.
      length: T. A longer text loses the tokens before its last one. 0 takes the length of the
        longest text, rounded up to a multiple of 8.

    Returns:
      `[N, T]` int32 tokens and `[N, T]` bool validity.

    Example:
      >>> from jaxrec.data import encode_texts, train_unigram
      >>> tokenizer = train_unigram(["ab ab ba"] * 3, 360)
      >>> tokens, valid = encode_texts(tokenizer, ["ab", ""])
      >>> tokens.shape, valid[:, 0].tolist()
      ((2, 8), [True, True])
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
    """Encode sources and targets as a batch of an encoder-decoder, see `objectives.language_loss`.

    The decoder begins with the padding token (T5). The tokens of a target share a weight of 1, so
    that the loss is the mean over examples of the mean over their tokens (P5).

    Args:
      tokenizer: of transformers, with a fast backend; it ends texts with an end-of-text token.
      examples: N pairs.
      source: S, the length of the sources; 0 for that of the longest one.
      target: T - 1, the length of the targets without the start token; 0 for that of the longest.

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


@dataclasses.dataclass(frozen=True)
class Group:
    """Tasks whose rows are padded to one length.

    Attributes:
      tasks: their numbers in the mixture.
      source: S, tokens of the sources.
      target: tokens of the targets without the start token.
    """

    tasks: tuple[int, ...]
    source: int
    target: int


def group_tasks(
    mixture: Mixture, tokenizer: Any, groups: int, sample: int = 512, *, targets: bool = False
) -> list[Group]:
    """Put tasks of similar length together, so that few shapes hold little padding.

    Args:
      mixture: the tasks.
      tokenizer: see `encode_examples`.
      groups: the largest number of groups.
      sample: number of places of each task whose lengths are measured. A text that is more than a
        few tokens longer than the longest of them is cut, see `encode_texts`.
      targets: group by the lengths of the targets too, for tasks whose answers are one token among
        tasks that write sentences. By default only padding of the sources counts.

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
    order = sorted(
        range(len(lengths)), key=lambda task: lengths[task][::-1] if targets else lengths[task]
    )

    def cells(parts: Sequence[Sequence[int]]) -> int:
        sides = (0, 1) if targets else (0,)
        return sum(
            sum(max(lengths[task][side] for task in part) for side in sides)
            * sum(mixture.rows[task] for task in part)
            for part in parts
        )

    # Tasks in the order of their lengths, cut in all ways; the way with the least padding wins.
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
      groups: from `group_tasks`.
      tokenizer: see `encode_examples`.
      shard: (this host, number of hosts): each host gets its part of every task's rows.

    Returns:
      Batches that map "group_0", "group_1", ... to what `encode_examples` gives.

    Raises:
      ConfigError: the hosts cannot share a task's rows evenly.
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
