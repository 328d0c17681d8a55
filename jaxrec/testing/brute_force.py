"""Brute-force reference for constrained search: full forward passes and loops, no cache or trie."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.decode import Catalogue, Prompts
from jaxrec.ids import IdVocabulary, ItemIndex, write_histories
from jaxrec.models import CausalLM, EncoderDecoder
from jaxrec.peft import virtual_of
from jaxrec.testing.run import random_params, tiny_model

MAX_ITEMS = 4
KINDS = ("causal", "prefix", "encoder-decoder")


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Case:
    """A random model, catalogue and batch of histories.

    Attributes:
      model: a decoder, or an encoder-decoder.
      params: its parameters.
      codes: `[I, L]` int32 item IDs.
      vocabulary: the tokens of the IDs.
      index: the trie of the IDs.
      tokens: `[B, S]` int32 histories, padded on the left.
      kind: "causal", "prefix" (a decoder that reads the history in both directions) or
        "encoder-decoder".
    """

    model: CausalLM | EncoderDecoder
    params: Any
    codes: np.ndarray
    vocabulary: IdVocabulary
    index: ItemIndex
    tokens: jax.Array
    kind: str

    @property
    def items(self) -> int:
        """Number of items."""
        return len(self.codes)

    @property
    def catalogue(self) -> Catalogue:
        """The items that a search may return."""
        return Catalogue(self.index, self.vocabulary)

    @property
    def prompts(self) -> Prompts:
        """The histories in the form that a search reads."""
        return Prompts(tokens=self.tokens, prefix=self.prefix)

    @property
    def prefix(self) -> jax.Array | None:
        """The tokens that a prefix decoder reads in both directions; None for other kinds."""
        return self.tokens != 0 if self.kind == "prefix" else None


def make_case(
    seed: int,
    sizes: tuple[int, ...],
    share: float,
    users: int = 3,
    kind: str = "causal",
    **flavour: Any,
) -> Case:
    """Draw a random case whose catalogue uses a share of all possible IDs."""
    rng = np.random.default_rng(seed)
    grid = int(np.prod(sizes))
    count = max(1, round(share * grid))
    codes = np.stack(np.unravel_index(rng.choice(grid, count, replace=False), sizes), axis=1)
    vocabulary = IdVocabulary(sizes=sizes)
    config = dataclasses.replace(tiny_model(vocabulary.size), **flavour)
    model = (EncoderDecoder if kind == "encoder-decoder" else CausalLM)(config)
    histories = [rng.integers(0, count, n % (MAX_ITEMS + 2)) for n in range(users)]
    tokens = write_histories(histories, vocabulary.tokens(codes), MAX_ITEMS)
    index = ItemIndex.build(codes.astype(np.int32), sizes)
    params = random_params(model, seed)
    return Case(
        model=model,
        params=params,
        codes=codes.astype(np.int32),
        vocabulary=vocabulary,
        index=index,
        tokens=jnp.asarray(tokens),
        kind=kind,
    )


@functools.partial(jax.jit, static_argnums=(0, 4))
def _forward(model: Any, params: Any, history: jax.Array, ids: jax.Array, prefix: bool) -> Any:
    """Compute logits `[N, L, V]` for each token of `ids` `[N, L]` after `history` `[N, S]`."""
    if isinstance(model, EncoderDecoder):
        written = jnp.pad(ids[:, :-1], ((0, 0), (1, 0)))
        count = virtual_of(params).written
        virtual = model.config.vocab_size + jnp.arange(count, dtype=jnp.int32)
        virtual = jnp.broadcast_to(virtual[None], (len(written), count))
        written = jnp.concatenate([virtual, written], axis=1)
        there = jnp.ones(written.shape, bool)
        return model.apply(params, history, history != 0, written, there)[:, count:]
    tokens = jnp.concatenate([history, ids], axis=1)
    seen = None
    if prefix:
        seen = jnp.concatenate([history != 0, jnp.zeros(ids.shape, bool)], axis=1)
    logits = model.apply(params, tokens, tokens != 0, prefix=seen)
    return logits[:, history.shape[1] - 1 : -1]


def _with_virtual(case: Case) -> np.ndarray:
    """Return the histories with the virtual tokens of a tuned case in front of each."""
    first, count = case.model.config.vocab_size, virtual_of(case.params).read
    rows = [
        np.insert(row, np.flatnonzero(row)[0], np.arange(first, first + count))
        for row in np.asarray(case.tokens)
    ]
    return np.stack(rows)


def level_logits(case: Case) -> list[np.ndarray]:
    """Compute the logits along each item's own ID: L arrays `[B, I, V]` float64."""
    users = case.tokens.shape[0]
    ids = jnp.tile(jnp.asarray(case.vocabulary.tokens(case.codes)), (users, 1))
    history = jnp.repeat(jnp.asarray(_with_virtual(case)), case.items, axis=0)
    logits = _forward(case.model, case.params, history, ids, case.kind == "prefix")
    found = np.asarray(logits, np.float64).reshape(users, case.items, *logits.shape[1:])
    return [found[:, :, level] for level in range(case.vocabulary.levels)]


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return the log-probabilities of one row of logits."""
    top = logits.max()
    return logits - top - np.log(np.exp(logits - top).sum())


def continuations(
    case: Case,
    logits: list[np.ndarray],
    user: int,
    allowed: np.ndarray,
    prefix: tuple[int, ...],
    normalize: str,
) -> dict[int, float]:
    """Return the log-probability of each legal code after a prefix, by testing every item."""
    level = len(prefix)
    members = [i for i, c in enumerate(case.codes) if tuple(c[:level].tolist()) == prefix]
    legal = sorted({int(case.codes[i][level]) for i in members if allowed[i]})
    if not legal:
        return {}
    every = logits[level][user, members[0]]
    row = every[case.vocabulary.level(level)]
    if normalize == "legal":
        return dict(zip(legal, log_softmax(row[legal]), strict=True))
    if normalize == "vocabulary":
        row = log_softmax(every)[case.vocabulary.level(level)]
        return {code: row[code] for code in legal}
    return {code: log_softmax(row)[code] for code in legal}


def score_of(
    case: Case,
    logits: list[np.ndarray],
    user: int,
    allowed: np.ndarray,
    item: int,
    normalize: str,
) -> float:
    """Return the log-probability of an item's ID."""
    code = case.codes[item].tolist()
    return sum(
        continuations(case, logits, user, allowed, tuple(code[:l]), normalize)[code[l]]
        for l in range(len(code))
    )


def textbook_search(
    case: Case,
    logits: list[np.ndarray],
    user: int,
    allowed: np.ndarray,
    beams: int | Sequence[int],
    normalize: str,
) -> list[tuple[float, int]]:
    """Run textbook beam search over Python tuples: [(score, item)], best first."""
    levels = case.vocabulary.levels
    state: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    for width in [beams] * levels if isinstance(beams, int) else beams:
        grown = [
            (score + more, (*prefix, code))
            for score, prefix in state
            for code, more in continuations(case, logits, user, allowed, prefix, normalize).items()
        ]
        state = sorted(grown, reverse=True)[:width]
    item_of = {tuple(code.tolist()): item for item, code in enumerate(case.codes)}
    return [(score, item_of[prefix]) for score, prefix in state]
