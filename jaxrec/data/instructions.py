"""Instruction data: records of instruction, input and output, their frame and their tokens.

The frame is Alpaca's (Taori et al. 2023), two fixed texts that TALLRec and its followers tuned
models on. A record's tokens are those of the framed text as a whole: tokenizing prompt and answer
apart would move the boundary between them.
"""

import dataclasses
import gzip
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrec.core import ConfigError, DataError

if TYPE_CHECKING:
    import grain

WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
)
WITHOUT_INPUT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes "
    "the request.\n\n### Instruction:\n{instruction}\n\n### Response:"
)
_FIELDS = ("instruction", "input", "output")


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One record; `input` is "" where the instruction says all."""

    instruction: str
    input: str
    output: str

    @property
    def prompt(self) -> str:
        """The framed text up to where the answer begins."""
        frame = WITH_INPUT if self.input else WITHOUT_INPUT
        return frame.format(instruction=self.instruction, input=self.input)


def read_instructions(path: str | os.PathLike[str]) -> list[Instruction]:
    """Read records from a JSON list or from JSON lines, gzipped where the name ends in `.gz`.

    Raises:
      DataError: no such file, not JSON, or a record without a field or with one that is no text;
        names the record.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
        lines = [line for line in text.splitlines() if line.strip()]
        whole = text.lstrip().startswith("[")
        rows = json.loads(text) if whole else [json.loads(line) for line in lines]
    except (OSError, EOFError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(
            f"{path} cannot be read as instructions ({error}); give a JSON list, or JSON lines, of "
            f"records with {', '.join(_FIELDS)}"
        ) from error
    if not rows:
        raise DataError(f"{path} holds no instructions")
    return [_record(path, number, row) for number, row in enumerate(rows)]


def _record(path: Path, number: int, row: Any) -> Instruction:
    if not isinstance(row, dict):
        raise DataError(f"{path}: record {number} is {type(row).__name__}, not an object")
    row = {"input": "", **row}
    for name in _FIELDS:
        if not isinstance(row.get(name), str):
            raise DataError(
                f"{path}: field {name!r} of record {number} must be a text, got {row.get(name)!r}"
            )
    return Instruction(*(row[name] for name in _FIELDS))


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TokenRows:
    """Texts as tokens, padded on the right to one length.

    Attributes:
      tokens: `[N, T]` int32.
      valid: `[N, T]` bool.
      weights: `[N, T]` float32, of each token as a target: 1 where it is learned.
      answer: `[N]` int32, position of the first token of the answer.
    """

    tokens: np.ndarray
    valid: np.ndarray
    weights: np.ndarray
    answer: np.ndarray

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, rows: np.ndarray | slice) -> dict[str, np.ndarray]:
        """Rows as a batch: {"tokens", "valid", "weights"}."""
        return {
            "tokens": self.tokens[rows],
            "valid": self.valid[rows],
            "weights": self.weights[rows],
        }


def encode_instructions(
    tokenizer: Any,
    examples: Sequence[Instruction],
    max_length: int,
    *,
    on_prompt: bool = False,
    multiple: int = 32,
) -> TokenRows:
    """Frame, tokenize and pad.

    A text that is too long loses tokens at its front, so that no answer is cut.

    Args:
      tokenizer: of transformers, with a fast backend and an end-of-text token.
      examples: records.
      max_length: most tokens of a text.
      on_prompt: learn the prompt too, as TALLRec does; else the answer and its end alone.
      multiple: the common length is the longest text's, rounded up to this.

    Raises:
      ConfigError: a tokenizer that cannot do this, or an answer longer than `max_length`.
      DataError: no records.
    """
    if not examples:
        raise DataError("no instructions to encode")
    end = tokenizer.eos_token_id
    if end is None or not tokenizer.is_fast:
        raise ConfigError("instructions need a fast tokenizer with an end-of-text token")
    texts = [example.prompt + example.output for example in examples]
    found = tokenizer(texts, return_offsets_mapping=True)
    rows, starts = [], []
    for example, tokens, spans in zip(
        examples, found["input_ids"], found["offset_mapping"], strict=True
    ):
        begin = len(example.prompt)
        # The token over the boundary, where there is one, holds part of the answer.
        start = next((i for i, (_, stop) in enumerate(spans) if stop > begin), len(tokens))
        tokens = tokens if tokens and tokens[-1] == end else [*tokens, end]
        surplus = max(len(tokens) - max_length, 0)
        if surplus >= start:
            raise ConfigError(
                f"the answer {example.output[:40]!r} and one token before it need "
                f"{len(tokens) - start + 1} tokens, max_length is {max_length}; raise it"
            )
        rows.append(tokens[surplus:])
        starts.append(start - surplus)
    length = -(-max(map(len, rows)) // multiple) * multiple
    column = np.arange(length)[None]
    lengths = np.array([len(row) for row in rows])[:, None]
    answer = np.array(starts, np.int32)
    valid = column < lengths
    tokens = np.full(valid.shape, end, np.int32)
    tokens[valid] = np.concatenate(rows)
    weights = valid if on_prompt else valid & (column >= answer[:, None])
    return TokenRows(tokens=tokens, valid=valid, weights=weights.astype(np.float32), answer=answer)


def instruction_batches(
    rows: TokenRows, *, batch_size: int, seed: int
) -> "grain.IterDataset[Mapping[str, np.ndarray]]":
    """Endless, seeded, resumable batches: every row once an epoch, in a new order each.

    Args:
      rows: what to draw from; fewer than a batch are drawn several times over.
      batch_size: rows a batch.
      seed: of the orders.

    Returns:
      A Grain dataset of {"tokens", "valid", "weights"}; its iterator is checkpointable.

    Raises:
      ConfigError: a batch of less than one row.
    """
    import grain

    if batch_size < 1:
        raise ConfigError(f"batch_size must be at least 1, got {batch_size}")
    count = len(rows)

    def order(epoch: int) -> np.ndarray:
        return np.random.default_rng([seed, epoch]).permutation(count)

    def batch(step: int) -> Mapping[str, np.ndarray]:
        places = np.arange(step * batch_size, (step + 1) * batch_size)
        epochs = {epoch: order(epoch) for epoch in np.unique(places // count).tolist()}
        return rows.take(np.array([epochs[p // count][p % count] for p in places.tolist()]))

    steps = grain.MapDataset.range(sys.maxsize // (2 * batch_size))  # for all purposes endless
    options = grain.ReadOptions(num_threads=0, prefetch_buffer_size=2)
    return steps.map(batch).to_iter_dataset(options)
