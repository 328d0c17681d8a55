"""Questions as tokens, with the path that each token belongs to.

... Paths: user 1 liked "Alien", which user 2 disliked. user 3 liked ...   ### Response:Yes.
0 0 0      1 1    1     1      1 1     1 1    1       1 2    2 2             0 0 0       0 0
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxrec.core import ConfigError
from jaxrec.data import Instruction, TokenRows, check_encoded, encode_marked, pad_rows


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PathRows(TokenRows):
    """Texts as tokens, padded on the right to one length.

    Attributes:
      paths: `[N, T]` int32, number of the path that a token belongs to, from 1; 0 for none.
      scored: `[N, K]` int32, positions of the tokens to learn, filled up with 0.
    """

    paths: np.ndarray
    scored: np.ndarray

    def take(self, rows: np.ndarray | slice) -> dict[str, np.ndarray]:
        """Return rows as a batch: {"tokens", "valid", "weights", "paths", "scored"}."""
        more = {"paths": self.paths[rows], "scored": self.scored[rows]}
        return {**super().take(rows), **more}


def encode_paths(
    tokenizer: Any,
    records: Sequence[Instruction],
    paths: Sequence[Sequence[str]],
    max_length: int,
    *,
    on_prompt: bool = False,
    multiple: int = 32,
) -> PathRows:
    """Tokenize questions, and find the tokens of their paths.

    Args:
      tokenizer: of transformers, with a fast backend and an end-of-text token.
      records: N questions with their answers.
      paths: the texts of the paths of each question, which its input has in this order, joined by
        one space.
      max_length: most tokens of a text.
      on_prompt: learn the prompt too.
      multiple: the length of rows is a multiple of this.

    Raises:
      ConfigError: a text has more tokens than that. Unlike other instructions it is not shortened,
        because it would lose its paths.

    Example:
      >>> from jaxrec.data import Instruction, train_bpe
      >>> from jaxrec.systems.glrec import encode_paths
      >>> tokenizer = train_bpe(["Paths: a b. c d."], 260)
      >>> records = [Instruction("Go.", "Paths: ab. cd.", "Yes.")]
      >>> rows = encode_paths(tokenizer, records, [["ab.", "cd."]], 500)
      >>> [tokenizer.decode(rows.tokens[0][rows.paths[0] == n]) for n in (1, 2)]
      ['ab.', 'cd.']
    """
    marked = [record.marked for record in records]
    encoded = encode_marked(tokenizer, marked, max_length, with_places=True)
    check_encoded(encoded, records, max_length)
    assert encoded.places is not None
    if encoded.cut:
        raise ConfigError(
            f"{encoded.cut:,} of {len(records):,} questions have more than {max_length} tokens "
            "(max_length), so they would lose their paths; raise max_length, or lower paths.count"
        )
    padding = tokenizer.eos_token_id
    rows = pad_rows(encoded, padding, on_prompt=on_prompt, multiple=multiple)
    numbers = np.zeros(rows.tokens.shape, np.int32)
    for row, (record, texts) in enumerate(zip(records, paths, strict=True)):
        if not texts:
            continue
        starts, ends = encoded.places[slice(*encoded.starts[row : row + 2])].T
        begin = record.prompt.index(" ".join(texts))
        for number, text in enumerate(texts, start=1):
            end = begin + len(text)
            # A token that begins with the space before a path belongs to that path.
            numbers[row, : len(starts)][(ends > begin) & (starts < end)] = number
            begin = end + 1
    return PathRows(
        tokens=rows.tokens,
        valid=rows.valid,
        weights=rows.weights,
        answer=rows.answer,
        paths=numbers,
        scored=_positions(rows.weights > 0),
    )


def _positions(marks: np.ndarray) -> np.ndarray:
    """Where rows are marked, `[N, T]` bool, as positions `[N, K]` filled up with 0."""
    counts = marks.sum(axis=1)
    filled = np.arange(int(counts.max()))[None] < counts[:, None]
    positions = np.zeros(filled.shape, np.int32)
    positions[filled] = np.nonzero(marks)[1]
    return positions
