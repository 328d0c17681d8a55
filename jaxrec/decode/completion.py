"""Texts in, texts out: `generate` with a tokenizer, in batches of few shapes."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError, count_done
from jaxrec.decode.batching import bucket
from jaxrec.decode.generation import TextOptions, generate
from jaxrec.decode.kv_cache import LanguageModel
from jaxrec.decode.prompts import Prompts
from jaxrec.decode.sampling import GREEDY, Sampling, check_key
from jaxrec.decode.stop import StopStrings, drop_first_space, text_of
from jaxrec.models import EncoderDecoder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclasses.dataclass(frozen=True)
class Completion:
    """A continuation of a text.

    Attributes:
      text: without special tokens and without the string that stopped it.
      truncated: whether it stopped at the largest number of tokens, and not at an end of text.

    Example:
      >>> from jaxrec.decode import Completion
      >>> Completion(" Paris.").truncated
      False
    """

    text: str
    truncated: bool = False


def complete(
    model: LanguageModel,
    params: Any,
    tokenizer: "PreTrainedTokenizerBase",
    prompts: Sequence[str],
    options: TextOptions,
    *,
    sampling: Sampling = GREEDY,
    key: jax.Array | None = None,
    stop: StopStrings | Sequence[str] | None = None,
    batch_size: int = 32,
) -> list[str]:
    """Continue texts.

    Prompts of similar length go into one batch, padded on the left to a power of two; the number of
    rows is rounded up in the same way. Each pair of such sizes compiles once.

    Args:
      model: a decoder, or an encoder-decoder whose encoder reads the prompts.
      params: its parameters.
      tokenizer: a fast tokenizer, byte-level BPE or with SentencePiece's pieces.
      prompts: texts; an empty text needs a tokenizer that begins each text with a token of its own.
      options: where a text begins and ends; by default the tokenizer says which tokens do, and a
        published model that names several end tokens.
      sampling: how tokens are drawn.
      key: typed random key; None when greedy.
      stop: strings that end a text and are not part of it. `StopStrings.build` makes their table
        once for many calls.
      batch_size: most rows a call.

    Returns:
      One continuation for each prompt, without special tokens. A decoder's continuation begins with
      a space if it begins with a new word.

    Raises:
      ConfigError: what `generate` rejects, a prompt without tokens, or a tokenizer of another kind.

    Example:
      >>> from jaxrec.data import train_bpe
      >>> from jaxrec.models import CausalLM
      >>> from jaxrec.testing import random_params, tiny_model
      >>> tokenizer = train_bpe(["one word"], vocab_size=300)
      >>> model = CausalLM(tiny_model(len(tokenizer)))
      >>> options = TextOptions(max_tokens=2)
      >>> len(complete(model, random_params(model), tokenizer, ["one", "word"], options))
      2
    """
    made = completions(
        model,
        params,
        tokenizer,
        prompts,
        options,
        sampling=sampling,
        key=key,
        stop=stop,
        batch_size=batch_size,
    )
    return [completion.text for completion in made]


def completions(
    model: LanguageModel,
    params: Any,
    tokenizer: "PreTrainedTokenizerBase",
    prompts: Sequence[str],
    options: TextOptions,
    *,
    sampling: Sampling = GREEDY,
    key: jax.Array | None = None,
    stop: StopStrings | Sequence[str] | None = None,
    batch_size: int = 32,
) -> list[Completion]:
    """Continue texts, and say which continuations are truncated; see `complete`.

    Raises:
      ConfigError: see `complete`.

    Example:
      >>> from jaxrec.data import train_bpe
      >>> from jaxrec.models import CausalLM
      >>> from jaxrec.testing import random_params, tiny_model
      >>> tokenizer = train_bpe(["one word"], vocab_size=300)
      >>> model = CausalLM(tiny_model(len(tokenizer)))
      >>> options = TextOptions(max_tokens=2, eos=())
      >>> completions(model, random_params(model), tokenizer, ["one"], options)[0].truncated
      True
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size must be at least 1, got {batch_size}")
    if isinstance(prompts, str):
        raise ConfigError(f"prompts must be a list of texts, got one: [{prompts[:20]!r}]")
    check_key(key, sampling)
    if stop is not None and not isinstance(stop, StopStrings):
        stop = StopStrings.build(tokenizer, stop, model.config.vocab_size)
    options = with_ends(options, model, tokenizer)
    writes = isinstance(model, EncoderDecoder)
    rows = encode_prompts(tokenizer, prompts, model.config.vocab_size, keep_eos=writes)
    for place, tokens_of_prompt in enumerate(rows):
        if not tokens_of_prompt:
            raise ConfigError(
                f"prompt {place} ({prompts[place]!r}) has no tokens, and the tokenizer adds none "
                "at the beginning of a text; give it some text"
            )
    made = [Completion("")] * len(rows)
    for number, (chosen, tokens, valid) in enumerate(_batches(rows, batch_size)):
        generated = generate(
            model,
            params,
            Prompts(tokens=jnp.asarray(tokens), valid=jnp.asarray(valid)),
            options,
            sampling=sampling,
            key=None if key is None else jax.random.fold_in(key, number),
            stop=None if stop is None else stop.table,
        )
        written, lengths = np.asarray(generated.tokens), np.asarray(generated.lengths)
        for row, prompt in enumerate(chosen):
            ids = written[row, : lengths[row]].tolist()
            made[prompt] = completion_of(tokenizer, ids, options, stop, whole_text=writes)
        count_done(len(chosen))
    return made


def completion_of(
    tokenizer: "PreTrainedTokenizerBase",
    tokens: Sequence[int],
    options: TextOptions,
    stop: StopStrings | None,
    *,
    whole_text: bool = False,
) -> Completion:
    """Return the text of the tokens that a model wrote.

    Args:
      tokenizer: of the model.
      tokens: at least one; the last one may be an end token.
      options: which tokens end a text, and how many there may be.
      stop: strings at which the text is cut.
      whole_text: whether the text stands on its own, without SentencePiece's first space.
    """
    ended = tokens[-1] in options.ends
    # An eos may have a text of its own: a caller may choose a newline.
    whole = text_of(tokenizer, tokens[:-1] if ended else tokens)
    text = whole if stop is None else stop.cut(whole)
    full = len(tokens) == options.max_tokens and not ended and text == whole
    return Completion(drop_first_space(tokenizer, text) if whole_text else text, truncated=full)


def with_ends(
    options: TextOptions, model: LanguageModel, tokenizer: "PreTrainedTokenizerBase"
) -> TextOptions:
    """Return options whose end tokens and start are set: to those of tokenizer and model."""
    if options.eos is None:
        own = () if tokenizer.eos_token_id is None else (tokenizer.eos_token_id,)
        eos = tuple(dict.fromkeys((*own, *model.config.end_tokens)))
        options = dataclasses.replace(options, eos=eos or None)
    if options.start is None:
        writes = isinstance(model, EncoderDecoder)
        options = dataclasses.replace(options, start=(tokenizer.pad_token_id or 0) * int(writes))
    return options


def encode_prompts(
    tokenizer: "PreTrainedTokenizerBase",
    texts: Sequence[str],
    vocab_size: int,
    *,
    keep_eos: bool = False,
) -> list[list[int]]:
    """Cut texts into tokens that a model continues.

    Args:
      tokenizer: of transformers.
      texts: an empty text has no tokens, unless the tokenizer begins each text with one.
      vocab_size: V of the model.
      keep_eos: whether to keep the end token that some tokenizers write after each text, and that
        would end the text of a decoder.

    Raises:
      ConfigError: the tokenizer writes tokens that the model does not have.
    """
    if not texts:
        return []
    encoded = tokenizer(list(texts), return_special_tokens_mask=True, verbose=False)
    rows: list[list[int]] = []
    for ids, added in zip(encoded["input_ids"], encoded["special_tokens_mask"], strict=True):
        ids = list(ids)
        if not keep_eos and ids and added[-1] and ids[-1] == tokenizer.eos_token_id:
            ids.pop()
        rows.append(ids)
    largest = max((max(row) for row in rows if row), default=0)
    if largest >= vocab_size:
        raise ConfigError(
            f"the tokenizer writes token {largest}, and the model has {vocab_size} tokens; give "
            "the model's own tokenizer"
        )
    return rows


def _batches(
    rows: Sequence[Sequence[int]], batch_size: int
) -> Iterator[tuple[list[int], np.ndarray, np.ndarray]]:
    """Yield rows of similar length: their numbers, tokens and validity `[B, T]`, padded."""
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    for first in range(0, len(rows), batch_size):
        chosen = order[first : first + batch_size]
        # Rows that fill up the batch have no valid token, so the loop never waits for them.
        height = min(bucket(len(chosen), 1), batch_size)
        tokens = np.zeros((height, bucket(len(rows[chosen[-1]]))), np.int32)
        valid = np.zeros(tokens.shape, bool)
        for place, row in enumerate(chosen):
            tokens[place, -len(rows[row]) :] = rows[row]
            valid[place, -len(rows[row]) :] = True
        yield chosen, tokens, valid
