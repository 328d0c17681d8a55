"""The search without a model, from logits to the last beams, with the trie and without it."""

import jax
import jax.numpy as jnp

from jaxrec.decode import CodeLogits, TrieLevel, search_step
from jaxrec.ids import ItemIndex

Step = tuple[jax.Array, jax.Array, jax.Array, jax.Array]


def our_step(
    index: ItemIndex,
    level: int,
    node: jax.Array,
    score: jax.Array,
    logits: jax.Array,
    width: int,
) -> Step:
    """One step of `jaxrec.decode.search_step`: score, parent, code and node, `[B, width]` each."""
    step = search_step(TrieLevel(index, level), node, score, CodeLogits(logits), width)
    return step.score, step.parent, step.code, step.node


def free_step(score: jax.Array, logits: jax.Array, width: int) -> Step:
    """One step in which every code is legal: no trie is read, and the nodes are the codes."""
    scores = score[:, :, None] + jax.nn.log_softmax(logits, axis=-1)
    best, parent, code = widest(scores, width)
    return best, parent, code, code


def widest(scores: jax.Array, width: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The best `width` of `[B, K, C]`: score, beam and code, each `[B, width]`."""
    batch, beams, codes = scores.shape
    best, place = jax.lax.top_k(scores.reshape(batch, beams * codes), width)
    return best, (place // codes).astype(jnp.int32), (place % codes).astype(jnp.int32)


def whole_search(index: ItemIndex, logits: list[jax.Array], widths: tuple[int, ...]) -> Step:
    """Walk down the trie by the logits of each level, `[B, K_l, C_l]`; return the last step."""
    batch = logits[0].shape[0]
    node, score = jnp.zeros((batch, 1), jnp.int32), jnp.zeros((batch, 1), jnp.float32)
    for level, width in enumerate(widths):
        step = our_step(index, level, node, score, logits[level], width)
        score, _, _, node = step
    return step


def whole_free(logits: list[jax.Array], widths: tuple[int, ...]) -> Step:
    """All steps of a search in which every code is legal; return the last step."""
    score = jnp.zeros(logits[0].shape[:2], jnp.float32)
    for level, width in enumerate(widths):
        step = free_step(score, logits[level], width)
        score = step[0]
    return step


def random_logits(
    batch: int, widths: tuple[int, ...], sizes: tuple[int, ...], seed: int = 0
) -> list[jax.Array]:
    """Draw logits of each level, `[B, K_l, C_l]`, for as many beams as the level above keeps."""
    keys = jax.random.split(jax.random.key(seed), len(sizes))
    beams = (1, *widths[:-1])
    return [
        2.0 * jax.random.normal(key, (batch, k, size))
        for key, k, size in zip(keys, beams, sizes, strict=True)
    ]
