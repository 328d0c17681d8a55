"""Instruction data: records of instruction, input and output, their frame and their tokens.

The frame is Alpaca's (Taori et al. 2023): two fixed texts that TALLRec and its successors tune
models on. The framed text is tokenized as a whole, because tokenizing prompt and answer separately
would move the boundary between them.
"""

import dataclasses
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.data import files

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
    """One record; `input` is "" where the instruction needs none.

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

    instruction: str
    input: str
    output: str

    @property
    def prompt(self) -> str:
        """The framed text up to where the answer begins."""
        frame = WITH_INPUT if self.input else WITHOUT_INPUT
        return frame.format(instruction=self.instruction, input=self.input)


def read_instructions(path: str | os.PathLike[str]) -> list[Instruction]:
    """Read records from a JSON list or from JSON lines, gzipped if the name ends in `.gz`.

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
    text = files.decode(files.read_bytes(path), path)
    # Not `splitlines`: JSON may have a line separator of Unicode inside a text.
    lines = [line for line in text.split("\n") if line.strip()]
    try:
        whole = text.lstrip().startswith("[")
        rows = json.loads(text) if whole else [json.loads(line) for line in lines]
    except (ValueError, RecursionError) as error:  # also numbers of too many digits
        raise DataError(
            f"{path} cannot be read as instructions ({error}); give a JSON list, or JSON lines, of "
            f"records with {', '.join(_FIELDS)}"
        ) from error
    if not rows:
        raise DataError(f"{path} holds no instructions")
    return [_record(path, number, row) for number, row in enumerate(rows)]


def _record(path: Path, number: int, row: Any) -> Instruction:
    if not isinstance(row, dict):
        raise DataError(
            f"{path}: record {number} is {type(row).__name__}, not an object with the fields "
            f"{', '.join(_FIELDS)}"
        )
    row = {"input": "", **row}
    for name in _FIELDS:
        if not isinstance(row.get(name), str):
            raise DataError(
                f"{path}: field {name!r} of record {number} must be a text, got "
                f"{files.shown(row.get(name))}"
            )
    return Instruction(*(row[name] for name in _FIELDS))


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
    if not examples:
        raise DataError("no instructions to encode")
    end = tokenizer.eos_token_id
    if end is None or not tokenizer.is_fast:
        raise ConfigError(
            "instructions need a fast tokenizer with an end-of-text token, and this one is "
            f"{'fast' if tokenizer.is_fast else 'slow'} with the token {tokenizer.eos_token!r}"
        )
    texts = [example.prompt + example.output for example in examples]
    found = tokenizer(texts, return_offsets_mapping=True)
    rows, starts = [], []
    for example, tokens, spans in zip(
        examples, found["input_ids"], found["offset_mapping"], strict=True
    ):
        begin = len(example.prompt)
        # A token that crosses the boundary holds part of the answer.
        start = next((i for i, (_, stop) in enumerate(spans) if stop > begin), len(tokens))
        tokens = tokens if tokens and tokens[-1] == end else [*tokens, end]
        surplus = max(len(tokens) - max_length, 0)
        # Models are trained with this token in front, and many give worse answers without it.
        first = int(tokenizer.bos_token_id is not None and tokens[0] == tokenizer.bos_token_id)
        if surplus >= start - (first if surplus else 0):
            raise ConfigError(
                f"the answer {example.output[:40]!r} and one token before it need "
                f"{len(tokens) - start + 1} tokens, and max_length is {max_length}; raise it"
            )
        rows.append(tokens[:first] + tokens[first + surplus :])
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
