"""Answers to text prompts: the best of a finite set by constrained search, or freely written.

A set of answers is a trie of their tokens, whatever they are: item IDs as tokens of their own, item
names as text, "yes" and "no", or all strings of a rating. Only members of the set can be found, and
with as many beams as members all of them are scored.

Shapes: `N` prompts, `A` answers, `K` beams, `L` tokens of the longest answer, `S` of a prompt.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError
from jaxrec.data import encode_texts
from jaxrec.decode.beam import search_items
from jaxrec.decode.history import read_histories
from jaxrec.decode.recommend import bucket
from jaxrec.decode.search import Normalize
from jaxrec.decode.text_beam import beam_generate
from jaxrec.ids import IdVocabulary, ItemCodes, ItemIndex, pad_items
from jaxrec.models import EncoderDecoder


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """A finite set of answers.

    Attributes:
      index: the trie.
      vocabulary: token numbers of its codes.
      tokens: `[A, L]` int32; a shorter text is filled with its end token.
    """

    index: ItemIndex
    vocabulary: IdVocabulary
    tokens: np.ndarray

    @classmethod
    def of_codes(cls, codes: ItemCodes, first: int) -> "Answers":
        """Item IDs whose tokens follow a text vocabulary of `first` tokens."""
        vocabulary = IdVocabulary(sizes=codes.sizes, num_special=first)
        return cls(ItemIndex.build(codes), vocabulary, vocabulary.tokens(codes.codes))

    @classmethod
    def of_texts(cls, tokenizer: Any, texts: Sequence[str], vocab_size: int) -> "Answers":
        """Texts as the tokenizer cuts and ends them; V tokens a level.

        Args:
          tokenizer: as of `data.prompts.encode_texts`.
          texts: A different strings.
          vocab_size: V, of the model.

        Raises:
          DataError: two texts of the same tokens.
        """
        tokens, valid = encode_texts(tokenizer, texts)
        tokens = np.where(valid, tokens, tokenizer.eos_token_id)[:, : valid.sum(axis=1).max()]
        sizes = (vocab_size,) * tokens.shape[1]
        vocabulary = IdVocabulary(
            sizes=sizes, num_special=0, shared=True, end=tokenizer.eos_token_id
        )
        return cls(ItemIndex.build(tokens, sizes), vocabulary, tokens)

    def __len__(self) -> int:
        return len(self.tokens)

    def found(self, tokens: np.ndarray, lengths: np.ndarray, end: int) -> np.ndarray:
        """Which answers texts of tokens are: `[..., T]` and `[...]` to `[...]` int32, else -1.

        Args:
          tokens: what was written.
          lengths: tokens of each, an end token included.
          end: the end token.
        """
        known = {_bare(row, end): answer for answer, row in enumerate(self.tokens.tolist())}
        rows = tokens.reshape(-1, tokens.shape[-1]).tolist()
        ends = lengths.reshape(-1).tolist()
        found = [known.get(_bare(row[:n], end), -1) for row, n in zip(rows, ends, strict=True)]
        return np.array(found, np.int32).reshape(lengths.shape)


def choose_answers(
    model: EncoderDecoder,
    params: Any,
    answers: Answers,
    tokens: np.ndarray,
    valid: np.ndarray,
    *,
    beams: int,
    allowed: np.ndarray | None = None,
    excluded: Sequence[np.ndarray] | None = None,
    normalize: Normalize = "vocabulary",
    batch_size: int = 128,
    start: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the best answers to each prompt.

    Args:
      model: its encoder reads the prompts.
      params: its variables.
      answers: what may be found.
      tokens: `[N, S]` int32 prompts.
      valid: `[N, S]` bool.
      beams: K.
      allowed: `[N, A]` bool answers that may be given; None for all.
      excluded: N arrays of answers that may not; None for none.
      normalize: see `search_items`; "vocabulary" gives the log-probabilities that training has.
      batch_size: prompts a call; the last one is filled up, so that one shape is compiled.
      start: first token of the decoder.
      progress: called with the number of prompts done.

    Returns:
      `[N, K]` int32 answers, -1 where fewer are allowed, and `[N, K]` float32 scores.

    Raises:
      ConfigError: more beams than answers, or none.
    """
    if not 1 <= beams <= len(answers):
        raise ConfigError(f"beams must lie between 1 and the {len(answers)} answers, got {beams}")
    barred = None
    if excluded is not None:
        barred = pad_items(excluded, bucket(max(map(len, excluded), default=1)))
    items, scores = [], []
    for rows in _rows(len(tokens), batch_size):
        history = read_histories(
            model, params, jnp.asarray(tokens[rows]), jnp.asarray(valid[rows]), start=start
        )
        found = search_items(
            model,
            params,
            answers.index,
            history,
            None if allowed is None else jnp.asarray(allowed[rows]),
            None if barred is None else jnp.asarray(barred[rows]),
            vocabulary=answers.vocabulary,
            beams=beams,
            normalize=normalize,
        )
        items.append(np.asarray(found.items))
        scores.append(np.asarray(found.scores))
        progress(min(len(items) * batch_size, len(tokens)))
    return _joined(items, len(tokens)), _joined(scores, len(tokens))


def score_answers(
    model: EncoderDecoder,
    params: Any,
    answers: Answers,
    tokens: np.ndarray,
    valid: np.ndarray,
    *,
    batch_size: int = 128,
    start: int = 0,
) -> np.ndarray:
    """Log-probability of every answer to every prompt, `[N, A]` float32; as `choose_answers`.

    Cost: A beams a prompt, so this is for sets of a few dozen.
    """
    items, scores = choose_answers(
        model,
        params,
        answers,
        tokens,
        valid,
        beams=len(answers),
        batch_size=batch_size,
        start=start,
    )
    table = np.full((len(tokens), len(answers)), -np.inf, np.float32)
    np.put_along_axis(table, items, scores, axis=1)
    return table


def write_answers(
    model: EncoderDecoder,
    params: Any,
    answers: Answers,
    tokens: np.ndarray,
    valid: np.ndarray,
    *,
    beams: int,
    end: int,
    batch_size: int = 128,
    start: int = 0,
) -> np.ndarray:
    """Let a beam search write over the whole vocabulary, and look up what it wrote.

    Args:
      model: as of `choose_answers`, and so the others.
      params: its variables.
      answers: what counts as an answer.
      tokens: `[N, S]` int32 prompts.
      valid: `[N, S]` bool.
      beams: K.
      end: token that ends an answer.
      batch_size: prompts a call.
      start: first token of the decoder.

    Returns:
      `[N, K]` int32 answers, best first, -1 where a beam wrote something else.
    """
    longest = answers.tokens.shape[1] + 1
    found = []
    for rows in _rows(len(tokens), batch_size):
        texts = beam_generate(
            model,
            params,
            jnp.asarray(tokens[rows]),
            jnp.asarray(valid[rows]),
            beams=beams,
            max_tokens=longest,
            eos=(end,),
            start=start,
            # By probability alone: no ID has an advantage of its length.
            length_penalty=0.0,
        )
        found.append(answers.found(np.asarray(texts.tokens), np.asarray(texts.lengths), end))
    return _joined(found, len(tokens))


def _rows(count: int, batch_size: int) -> Iterator[np.ndarray]:
    """Rows of each call; the last one's is repeated until there are as many as a call has."""
    size = min(batch_size, count)
    for first in range(0, count, batch_size):
        yield np.minimum(np.arange(first, first + size), count - 1)


def _joined(parts: Sequence[np.ndarray], count: int) -> np.ndarray:
    return np.concatenate(parts)[:count]


def _bare(row: Sequence[int], end: int) -> tuple[int, ...]:
    """Tokens up to the end token."""
    return tuple(row[: row.index(end)] if end in row else row)
