"""Instruction data: records of instruction, input and output, their frame and their tokens.

The frame is Alpaca's (Taori et al. 2023): two fixed texts that TALLRec and its successors tune
models on. The framed text is tokenized as a whole, because tokenizing prompt and answer separately
would move the boundary between them.
"""

import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.data import files
from jaxrec.data.json_rows import read_json_rows, record_line
from jaxrec.data.marked import MarkedText, TokenTexts, encode_marked

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
FIELDS = ("instruction", "input", "output")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Instruction:
    """One record; `input` is "" where the instruction needs none.

    Attributes:
      instruction, input, output: the three texts.
      learned: where the parts of the output begin and end that a model learns to write, if it only
        reads the rest; empty for all of it.

    Example:
      >>> from jaxrec.data import Instruction
      >>> print(Instruction("Add.", "1 2", "3").prompt[-52:])
      ### Instruction:
      Add.
      <BLANKLINE>
      ### Input:
      1 2
      <BLANKLINE>
      ### Response:
    """

    instruction: str = dataclasses.field(kw_only=False)
    input: str = dataclasses.field(kw_only=False)
    output: str = dataclasses.field(kw_only=False)
    learned: tuple[tuple[int, int], ...] = dataclasses.field(default=(), repr=False)

    @property
    def prompt(self) -> str:
        """The framed text up to where the answer begins."""
        frame = WITH_INPUT if self.input else WITHOUT_INPUT
        return frame.format(instruction=self.instruction, input=self.input)

    @property
    def marked(self) -> MarkedText:
        """The framed text with its answer, which is what a model learns to write."""
        text, begin = self.prompt + self.output, len(self.prompt)
        spans = self.learned or ((0, len(self.output)),)
        return MarkedText(text, tuple((begin + first, begin + last) for first, last in spans))


def read_instructions(path: str | os.PathLike[str]) -> list[Instruction]:
    """Read records from a JSON list or from JSON lines, gzipped if the name ends in `.gz`.

    A record has "instruction", "output" and perhaps "input". Instead of the last two it may have
    "instances", a list of records with "input" and "output", as the published seed tasks do.

    Raises:
      DataError: the file is missing or not JSON, or a field of a record is missing or not a text;
        the message names the record.

    Example:
      >>> import json, pathlib, tempfile
      >>> from jaxrec.data import read_instructions
      >>> with tempfile.TemporaryDirectory() as directory:
      ...     path = pathlib.Path(directory) / "records.json"
      ...     _ = path.write_text(json.dumps([{"instruction": "Say hi.", "output": "Hi."}]))
      ...     read_instructions(path)
      [Instruction(instruction='Say hi.', input='', output='Hi.')]
    """
    path = Path(path)
    rows = read_json_rows(path, "instructions", FIELDS)
    return [record for number, row in enumerate(rows) for record in _records(path, number, row)]


def _records(path: Path, number: int, row: Mapping[str, Any]) -> list[Instruction]:
    if isinstance(row.get("instances"), list):
        parts = [
            {"instruction": row.get("instruction")} | (part if isinstance(part, dict) else {})
            for part in row["instances"]
        ]
        return [as_record(path, number, part) for part in parts]
    return [as_record(path, number, row)]


def as_record(path: Path, number: int, row: Mapping[str, Any]) -> Instruction:
    """Check the fields of a record that was read from a file.

    Args:
      path: the file, for messages.
      number: place of the record in the file, for messages.
      row: its fields; "input" may be missing.

    Raises:
      DataError: a field is missing or not a text, or there is nothing to answer; the message names
        the file and the line.
    """
    row = {"input": "", **row}
    if row.get("instruction") == row["input"] == "":
        raise DataError(
            f"{path}: record {number} has neither an instruction nor an input (line "
            f"{record_line(path, number)}); give one, or leave the record out"
        )
    for name in FIELDS:
        if not isinstance(row.get(name), str):
            raise DataError(
                f"{path}: field {name!r} of record {number} must be a text, got "
                f"{files.shown(row.get(name))} (line {record_line(path, number)})"
            )
    return Instruction(*(row[name] for name in FIELDS))


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TokenRows:
    """Texts as tokens, padded on the right to one length.

    Attributes:
      tokens: `[N, T]` int32.
      valid: `[N, T]` bool.
      weights: `[N, T]` float32 weights of the tokens as targets; 1 for tokens to learn.
      answer: `[N]` int32, position of the first token of the answer.
    """

    tokens: np.ndarray
    valid: np.ndarray
    weights: np.ndarray
    answer: np.ndarray

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, rows: np.ndarray | slice) -> dict[str, np.ndarray]:
        """Return rows as a batch: {"tokens", "valid", "weights"}."""
        return {
            "tokens": self.tokens[rows],
            "valid": self.valid[rows],
            "weights": self.weights[rows],
        }

    def with_virtual(self, vocab_size: int, count: int) -> "TokenRows":
        """Put virtual tokens, which are never targets, in front of every text.

        Args:
          vocab_size: V of the model; virtual tokens are V ... V + P - 1.
          count: P, as `peft.virtual_of` counts them in a tuned model.

        Example:
          >>> import numpy as np
          >>> cells = np.array([[5, 6]])
          >>> rows = TokenRows(tokens=cells, valid=cells > 0, weights=cells > 5, answer=cells[:, 0])
          >>> rows.with_virtual(vocab_size=10, count=3).tokens.tolist()
          [[10, 11, 12, 5, 6]]
        """
        shape = (len(self), count)
        virtual = np.broadcast_to(vocab_size + np.arange(count, dtype=np.int32)[None], shape)

        def joined(front: np.ndarray, back: np.ndarray) -> np.ndarray:
            return np.concatenate([front.astype(back.dtype), back], axis=1)

        return TokenRows(
            tokens=joined(virtual, self.tokens),
            valid=joined(np.ones(shape), self.valid),
            weights=joined(np.zeros(shape), self.weights),
            answer=self.answer + count,
        )


def encode_instructions(
    tokenizer: Any,
    examples: Sequence[Instruction],
    max_length: int,
    *,
    on_prompt: bool = False,
    multiple: int = 32,
) -> TokenRows:
    """Frame, tokenize and pad.

    A text that is too long loses tokens at its front, so that no answer is cut. It keeps the token
    that the tokenizer begins every text with.

    Args:
      tokenizer: of transformers, with a fast backend and an end-of-text token.
      examples: records.
      max_length: most tokens of a text.
      on_prompt: learn the prompt too, as TALLRec does; otherwise only the answer and its end.
      multiple: the length of the longest text is rounded up to a multiple of this.

    Raises:
      ConfigError: the tokenizer is slow or has no end-of-text token, or an answer is longer than
        `max_length`.
      DataError: no records.

    Example:
      >>> from jaxrec.data import Instruction, encode_instructions, train_bpe
      >>> tokenizer = train_bpe(["Say hi."], 260)
      >>> rows = encode_instructions(tokenizer, [Instruction("Say hi.", "", "Hi.")], 500)
      >>> tokenizer.decode(rows.tokens[0][rows.weights[0] > 0])
      'Hi.</s>'
    """
    encoded = encode_marked(tokenizer, [example.marked for example in examples], max_length)
    check_encoded(encoded, examples, max_length)
    return pad_rows(encoded, tokenizer.eos_token_id, on_prompt=on_prompt, multiple=multiple)


def check_encoded(encoded: TokenTexts, examples: Sequence[Instruction], max_length: int) -> None:
    """Reject records whose answers were left out because they do not fit.

    Args:
      encoded: what `encode_marked` returned for the records.
      examples: the records.
      max_length: most tokens of a text.

    Raises:
      ConfigError: an answer is longer than `max_length`.
    """
    if encoded.rejected:
        kept = set(encoded.source.tolist())
        lost = next(example for n, example in enumerate(examples) if n not in kept)
        raise ConfigError(
            f"the answer {lost.output[:40]!r} and one token before it do not fit, and max_length "
            f"is {max_length}; raise it"
        )


def pad_rows(
    encoded: TokenTexts, padding: int, *, on_prompt: bool = False, multiple: int = 32
) -> TokenRows:
    """Pad texts of different lengths on the right.

    Args:
      encoded: N texts, from `encode_marked`.
      padding: the token that fills rows up.
      on_prompt: learn the prompts too, and not only what is marked.
      multiple: the length of the longest text is rounded up to a multiple of this.

    Example:
      >>> from jaxrec.data import MarkedText, encode_marked, pad_rows, train_bpe
      >>> tokenizer = train_bpe(["2 + 2 = 4"], 270)
      >>> encoded = encode_marked(tokenizer, [MarkedText("2 + 2 = 4", ((8, 9),))], 16)
      >>> pad_rows(encoded, tokenizer.pad_token_id).tokens.shape
      (1, 32)
    """
    lengths = encoded.lengths[:, None]
    length = -(-int(lengths.max()) // multiple) * multiple
    valid = np.arange(length)[None] < lengths
    tokens = np.full(valid.shape, padding, np.int32)
    tokens[valid] = encoded.tokens
    learned = np.zeros(valid.shape, bool)
    learned[valid] = encoded.learned
    return TokenRows(
        tokens=tokens,
        valid=valid,
        weights=(valid if on_prompt else learned).astype(np.float32),
        answer=learned.argmax(axis=1).astype(np.int32),
    )


def instruction_batches(
    rows: TokenRows, *, batch_size: int, seed: int
) -> "grain.IterDataset[Mapping[str, np.ndarray]]":
    """Return endless, seeded, resumable batches: every row once in each epoch, in a new order.

    Args:
      rows: what to draw from; if they are fewer than a batch, a batch has some several times.
      batch_size: number of rows in a batch.
      seed: seed of the orders.

    Returns:
      A Grain dataset of {"tokens", "valid", "weights"}; its iterator is checkpointable.

    Raises:
      ConfigError: a batch of less than one row.

    Example:
      >>> import numpy as np
      >>> from jaxrec.data import TokenRows, instruction_batches
      >>> cells = np.zeros((3, 4), int)
      >>> rows = TokenRows(tokens=cells, valid=cells == 0, weights=cells, answer=cells[:, 0])
      >>> next(iter(instruction_batches(rows, batch_size=2, seed=0)))["tokens"].shape
      (2, 4)
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

    steps = grain.MapDataset.range(sys.maxsize // (2 * batch_size))  # practically endless
    options = grain.ReadOptions(num_threads=0, prefetch_buffer_size=2)
    return steps.map(batch).to_iter_dataset(options)
