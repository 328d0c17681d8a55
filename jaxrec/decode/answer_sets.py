"""Answers to text prompts: the best ones of a finite set by constrained search, or freely written.

A set of answers is a trie of their tokens: item IDs with tokens of their own, item names as text,
"yes" and "no", or all strings of a rating. Only members of the set can be given, and with as many
beams as members all of them are scored.

Shapes: `N` prompts, `A` answers, `K` beams, `L` tokens of the longest answer, `S` tokens of a
prompt.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError, check_numbers, count_done
from jaxrec.data import encode_texts
from jaxrec.decode.batching import row_batches
from jaxrec.decode.beam import search_items
from jaxrec.decode.continuations import Continuations, score_continuations
from jaxrec.decode.generation import TextOptions
from jaxrec.decode.history import ReadOptions, read_histories
from jaxrec.decode.options import ANY_ITEM, Catalogue, Request, SearchOptions
from jaxrec.decode.prompts import Prompts
from jaxrec.decode.text_beam import beam_generate
from jaxrec.ids import IdVocabulary, ItemCodes, ItemIndex
from jaxrec.models import EncoderDecoder

# Most tokens of the candidates that one row holds; a longer row costs its square.
_ROW = 128


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """A finite set of answers.

    Attributes:
      catalogue: the trie of the answers, and the tokens of its codes.
      tokens: `[A, L]` int32; a shorter text is filled up with its end token.

    Example:
      >>> from jaxrec.data import train_unigram
      >>> tokenizer = train_unigram(["yes", "no"], 400, words=["yes", "no"])
      >>> answers = Answers.of_texts(tokenizer, ["yes", "no"], len(tokenizer))
      >>> len(answers)
      2
      >>> answers.look_up(answers.tokens[::-1], np.array([2, 2]), tokenizer.eos_token_id).tolist()
      [1, 0]
    """

    catalogue: Catalogue
    tokens: np.ndarray

    @classmethod
    def of_codes(cls, codes: ItemCodes, first: int) -> "Answers":
        """Make a set of item IDs, whose tokens follow a text vocabulary of `first` tokens."""
        catalogue = Catalogue.of_codes(codes, num_special=first)
        return cls(catalogue, catalogue.vocabulary.tokens(codes.codes))

    @classmethod
    def of_texts(cls, tokenizer: Any, texts: Sequence[str], vocab_size: int) -> "Answers":
        """Make a set of texts, cut and ended by the tokenizer; a level has V codes.

        Args:
          tokenizer: a tokenizer that ends each text with its end token, see `data.encode_texts`.
          texts: A different strings.
          vocab_size: V of the model.

        Raises:
          DataError: two texts have the same tokens.
        """
        tokens, valid = encode_texts(tokenizer, texts)
        tokens = np.where(valid, tokens, tokenizer.eos_token_id)[:, : valid.sum(axis=1).max()]
        sizes = (vocab_size,) * tokens.shape[1]
        vocabulary = IdVocabulary(
            sizes=sizes, num_special=0, shared=True, end=tokenizer.eos_token_id
        )
        return cls(Catalogue(ItemIndex.build(tokens, sizes), vocabulary), tokens)

    def __len__(self) -> int:
        return len(self.tokens)

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        """Number of tokens of each answer, an end token included: `[A]`."""
        end = self.catalogue.vocabulary.end
        full = self.tokens.shape[1]
        if end is None:
            return np.full(len(self), full)
        ended = self.tokens == end
        return np.where(ended.any(axis=1), ended.argmax(axis=1) + 1, full)

    def look_up(self, tokens: np.ndarray, lengths: np.ndarray, end: int) -> np.ndarray:
        """Return which answer each text is, `[...]` int32; -1 for a text that is no answer.

        Args:
          tokens: `[..., T]`, what was written.
          lengths: `[...]`, number of tokens of each text, an end token included.
          end: the end token.
        """
        known = {_without_end(row, end): answer for answer, row in enumerate(self.tokens.tolist())}
        rows = tokens.reshape(-1, tokens.shape[-1]).tolist()
        ends = lengths.reshape(-1).tolist()
        numbers = [
            known.get(_without_end(row[:count], end), -1)
            for row, count in zip(rows, ends, strict=True)
        ]
        return np.array(numbers, np.int32).reshape(lengths.shape)


def choose_answers(
    model: EncoderDecoder,
    params: Any,
    answers: Answers,
    prompts: Prompts,
    options: SearchOptions,
    request: Request = ANY_ITEM,
    *,
    batch_size: int = 128,
    start: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the best answers to each prompt.

    Args:
      model: its encoder reads the prompts.
      params: its variables.
      answers: what may be given.
      prompts: `[N, S]` tokens.
      options: beam width, normalization and strategy; normalization over the "vocabulary" gives the
        log-probabilities that the model was trained on.
      request: answers that each prompt may get, `[N, A]` and `[N, E]`.
      batch_size: prompts a call; the last call is filled up, so that one shape is compiled.
      start: first token of the decoder.

    Returns:
      `[N, K]` int32 answers, -1 where fewer are allowed, and `[N, K]` float32 scores.

    Raises:
      ConfigError: more beams than answers, a request with a random key, or one about other prompts
        or answers.
      DataError: an excluded number that belongs to no answer.

    Example:
      The ten best items of each user among those that are new to the user::

        options = SearchOptions(beams=10, normalize="vocabulary")
        request = Request.excluding(histories)
        items, scores = choose_answers(model, params, answers, prompts, options, request)
    """
    widest = options.beams if isinstance(options.beams, int) else options.beams[-1]
    if widest > len(answers):
        raise ConfigError(f"beams must lie between 1 and the {len(answers)} answers, got {widest}")
    if request.key is not None:
        raise ConfigError("choose_answers draws nothing; drop the key of the request")
    reading, count = ReadOptions(start=start), len(prompts.tokens)
    on_host = jax.tree.map(np.asarray, (prompts, request))
    on_host[1].check(len(answers), count)
    items, scores = [], []
    for rows in row_batches(count, batch_size):
        own, wanted = _take(on_host, rows)
        history = read_histories(model, params, own, reading)
        best = search_items(model, params, answers.catalogue, history, options, wanted)
        items.append(np.asarray(best.items))
        scores.append(np.asarray(best.scores))
        count_done(min(batch_size, count - (len(items) - 1) * batch_size))
    return np.concatenate(items)[:count], np.concatenate(scores)[:count]


def score_answers(
    model: EncoderDecoder,
    params: Any,
    answers: Answers,
    prompts: Prompts,
    *,
    batch_size: int = 128,
    start: int = 0,
) -> np.ndarray:
    """Return the log-probability of every answer to every prompt, `[N, A]` float32.

    The arguments are those of `choose_answers`. Each prompt has A beams, so this is for sets of a
    few dozen answers.

    Example:
      The probability of "yes", where `prompts` ask yes-or-no questions::

        answers = Answers.of_texts(tokenizer, ["yes", "no"], len(tokenizer))
        scores = score_answers(model, params, answers, prompts)
        yes = np.exp(scores[:, 0])
    """
    options = SearchOptions(beams=len(answers), normalize="vocabulary")
    items, scores = choose_answers(
        model, params, answers, prompts, options, batch_size=batch_size, start=start
    )
    table = np.full((len(prompts.tokens), len(answers)), -np.inf, np.float32)
    np.put_along_axis(table, items, scores, axis=1)
    return table


def score_candidates(
    model: EncoderDecoder,
    params: Any,
    answers: Answers,
    prompts: Prompts,
    candidates: np.ndarray,
    *,
    written: Sequence[Sequence[int]] = (),
    batch_size: int = 128,
    start: int = 0,
) -> np.ndarray:
    """Return the log-probability of some answers to each prompt, other ones for every prompt.

    The tokens of each candidate are scored as they stand, with no search.

    Args:
      model: its encoder reads the prompts.
      params: its variables.
      answers: what may be given.
      prompts: `[N, S]` tokens.
      candidates: `[N, C]` numbers of answers.
      written: N lists of tokens that the decoder has written before the answer; none by default.
      batch_size: rows a call. A row holds a prompt with as many of its candidates as fit.
      start: first token of the decoder.

    Returns:
      `[N, C]` float64 sums over the `answers.lengths` tokens of each candidate.

    Raises:
      ConfigError: candidates or written tokens for another number of prompts.
      DataError: a candidate that is no answer.

    Example:
      >>> from jaxrec.data import encode_texts, train_unigram
      >>> from jaxrec.models import TransformerConfig
      >>> from jaxrec.testing import random_params
      >>> tokenizer = train_unigram(["yes", "no"], 400, words=["yes", "no"])
      >>> config = TransformerConfig(vocab_size=len(tokenizer), width=8, depth=1, num_heads=1)
      >>> model = EncoderDecoder(config)
      >>> answers = Answers.of_texts(tokenizer, ["yes", "no"], len(tokenizer))
      >>> prompts = Prompts(tokens=jnp.asarray(encode_texts(tokenizer, ["no"])[0]))
      >>> scores = score_candidates(
      ...     model, random_params(model), answers, prompts, np.array([[1, 0, 1]])
      ... )
      >>> bool(scores[0, 0] == scores[0, 2])
      True
    """
    count = len(prompts.tokens)
    if len(candidates) != count or (len(written) and len(written) != count):
        raise ConfigError(
            f"{len(candidates)} rows of candidates and {len(written)} of written tokens for "
            f"{count} prompts; give one of each, or no written tokens"
        )
    check_numbers(candidates, len(answers), "candidates", missing=False)
    tokens, valid = np.asarray(prompts.tokens), np.asarray(prompts.mask)
    longest = int(answers.lengths[candidates].max(initial=1))
    size = max(1, _ROW // longest)
    rows = [
        (prompt, slice(first, first + size))
        for prompt in range(count)
        for first in range(0, candidates.shape[1], size)
    ]
    scores = np.zeros(candidates.shape, np.float64)
    for chosen in row_batches(len(rows), batch_size):
        batch = [rows[row] for row in chosen]
        shown = [candidates[prompt, part].tolist() for prompt, part in batch]
        parts = [[answers.tokens[c, : answers.lengths[c]].tolist() for c in row] for row in shown]
        before = [[start, *(written[prompt] if len(written) else ())] for prompt, _ in batch]
        own = [prompt for prompt, _ in batch]
        source = Prompts(tokens=jnp.asarray(tokens[own]), valid=jnp.asarray(valid[own]))
        made = jax.tree.map(jnp.asarray, Continuations.build(before, parts, len(batch)))
        logprobs, _ = score_continuations(model, params, made, None, source)
        table = np.asarray(logprobs, np.float64)
        for place, (prompt, part) in enumerate(batch):
            ends = np.cumsum([0, *map(len, parts[place])])
            scores[prompt, part] = np.add.reduceat(table[place, : ends[-1]], ends[:-1])
        # A prompt is done with its last row; the last batch repeats one.
        count_done(len({prompt for prompt, part in batch if part.stop >= candidates.shape[1]}))
    return scores


def write_answers(
    model: EncoderDecoder,
    params: Any,
    answers: Answers,
    prompts: Prompts,
    *,
    beams: int,
    end: int,
    batch_size: int = 128,
    start: int = 0,
) -> np.ndarray:
    """Let a beam search write over the whole vocabulary, and look up which answers it wrote.

    Args:
      model: its encoder reads the prompts.
      params: its variables.
      answers: the texts that count as answers.
      prompts: `[N, S]` tokens.
      beams: K.
      end: token that ends an answer.
      batch_size: prompts a call; the last call is filled up, so that one shape is compiled.
      start: first token of the decoder.

    Returns:
      `[N, K]` int32 answers, best first, -1 where a beam wrote something else.

    Example:
      The share of written texts that are no answer::

        numbers = write_answers(
            model, params, answers, prompts, beams=10, end=tokenizer.eos_token_id
        )
        invalid = (numbers < 0).mean()
    """
    options = TextOptions(max_tokens=answers.tokens.shape[1] + 1, eos=(end,), start=start)
    numbers: list[np.ndarray] = []
    count = len(prompts.tokens)
    on_host = jax.tree.map(np.asarray, prompts)
    for rows in row_batches(count, batch_size):
        # By probability alone: no ID has an advantage because of its length.
        texts = beam_generate(
            model, params, _take(on_host, rows), options, beams=beams, length_penalty=0.0
        )
        count_done(min(batch_size, count - len(numbers) * batch_size))
        numbers.append(answers.look_up(np.asarray(texts.tokens), np.asarray(texts.lengths), end))
    return np.concatenate(numbers)[:count]


def _take(tree: Any, rows: np.ndarray) -> Any:
    """Move rows of all arrays to the device."""
    return jax.tree.map(lambda x: jnp.asarray(x[rows]), tree)


def _without_end(row: Sequence[int], end: int) -> tuple[int, ...]:
    """Return the tokens before the end token."""
    return tuple(row[: row.index(end)] if end in row else row)
