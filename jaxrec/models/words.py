"""Whole words: an encoder is told which of its tokens belong to one word (P5).

Every token that begins a word raises a counter, and all tokens of a word share its value, whose row
of a table is added to their embeddings::

    ▁user  _  2  3  ▁saw  ▁item  _  7  ▁,  ▁item  _  7  2  </s>
    1      1  1  1  2     3      3  3  4   5      5  5  5  0

Which tokens begin words is a fact of the vocabulary, so it lies among the model's variables, in a
collection of its own, and the numbers are counted on the device: what training adds, generation
adds too.

Source: Geng et al., Recommendation as Language Processing (P5), RecSys 2022, section 3.2.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Collection of a model's variables that holds {"kinds": int8 [V]}.
WORDS = "words"
# Kinds of tokens: begins a word, goes on with one, belongs to none (special tokens: number 0).
BEGINS, CONTINUES, NEUTRAL = 1, 0, -1


def word_kinds(tokenizer: Any, vocab_size: int, begins: Any = ()) -> np.ndarray:
    """Return what each token of a vocabulary does: int8 [V].

    Args:
      tokenizer: of transformers, with SentencePiece's pieces ("▁" at the front of a word).
      vocab_size: V, at least the tokenizer's; tokens beyond its end are `NEUTRAL`.
      begins: numbers of further tokens that begin a word, such as the first codes of item IDs.
    """
    kinds = np.full(vocab_size, NEUTRAL, np.int8)
    special = set(tokenizer.all_special_ids)
    for piece, number in tokenizer.get_vocab().items():
        if number not in special:
            kinds[number] = BEGINS if piece.startswith("▁") else CONTINUES
    kinds[list(begins)] = BEGINS
    return kinds


def word_numbers(
    kinds: jax.Array, tokens: jax.Array, valid: jax.Array, segments: jax.Array | None = None
) -> jax.Array:
    """Number the words of each row from 1 on: `[B, T]` tokens to `[B, T]` int32.

    Args:
      kinds: `[V]` int8, of `word_kinds`.
      tokens: `[B, T]` int32; those of V and above are virtual, and belong to no word.
      valid: `[B, T]` bool, False for padding, which has number 0.
      segments: `[B, T]` int32, which of the texts packed into a row, each numbered anew.

    Cost: a prefix sum; with segments O(T^2) a row.
    """
    size = kinds.shape[0]
    kind = jnp.where(valid & (tokens < size), kinds[jnp.minimum(tokens, size - 1)], NEUTRAL)
    begins = (kind == BEGINS).astype(jnp.int32)
    if segments is None:
        count = jnp.cumsum(begins, axis=1)
    else:
        # [B, T, T]: tokens of the same text up to each.
        length = tokens.shape[1]
        before = jnp.tril(jnp.ones((length, length), bool))[None]
        before = before & (segments[:, :, None] == segments[:, None, :])
        count = jnp.einsum("bts,bs->bt", before.astype(jnp.int32), begins)
    return jnp.where(kind == NEUTRAL, 0, count)
