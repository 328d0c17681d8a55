"""Whole-word embeddings, which tell an encoder which tokens belong to one word (P5).

Words are numbered, and all tokens of a word share its number. The number's row of a table is added
to their embeddings::

    ▁user  _  2  3  ▁saw  ▁item  _  7  ▁,  ▁item  _  7  2  </s>
    1      1  1  1  2     3      3  3  4   5      5  5  5  0

Which tokens begin words is a property of the vocabulary. It is stored with the model's variables,
in a collection of its own, and the device counts the words, so that generation adds exactly what
training added.

Source: Geng et al., Recommendation as Language Processing (P5), RecSys 2022, section 3.2.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# The collection of a model's variables that holds {"kinds": int8 [V]}.
WORDS = "words"
# Kinds of tokens: begins a word, continues one, belongs to none (special tokens; number 0).
BEGINS, CONTINUES, NEUTRAL = 1, 0, -1


def word_kinds(tokenizer: Any, vocab_size: int, begins: Any = ()) -> np.ndarray:
    """Return the kind of each token of a vocabulary: int8 [V].

    Args:
      tokenizer: tokenizer of transformers with SentencePiece's pieces, where "▁" begins a word.
      vocab_size: V, at least the tokenizer's size; tokens beyond that are `NEUTRAL`.
      begins: numbers of additional tokens that begin a word, such as the first codes of item IDs.
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
    """Number the words of each row from 1.

    Args:
      kinds: `[V]` int8, from `word_kinds`.
      tokens: `[B, T]` int32; numbers from V on are virtual tokens, which belong to no word.
      valid: `[B, T]` bool, False for padding.
      segments: `[B, T]` int32, number of the packed text that a token belongs to; each text is
        numbered from 1. None if every row is one text.

    Returns:
      `[B, T]` int32, the number of each token's word; 0 for padding and tokens of no word.

    Cost: a prefix sum; with segments, O(T^2) per row.
    """
    size = kinds.shape[0]
    kind = jnp.where(valid & (tokens < size), kinds[jnp.minimum(tokens, size - 1)], NEUTRAL)
    begins = (kind == BEGINS).astype(jnp.int32)
    if segments is None:
        count = jnp.cumsum(begins, axis=1)
    else:
        # [B, T, T]: for each token, the tokens of its text up to itself.
        length = tokens.shape[1]
        before = jnp.tril(jnp.ones((length, length), bool))[None]
        before = before & (segments[:, :, None] == segments[:, None, :])
        count = jnp.einsum("bts,bs->bt", before.astype(jnp.int32), begins)
    return jnp.where(kind == NEUTRAL, 0, count)
