"""Beam search over valid item IDs only: from histories to items and scores in one jitted call.

Prefill reads each history once; then one wide step a level extends all beams, with logits of that
level's codes alone. Illegal codes are removed *before* the top-k, so the search is exact for its
beam width: with as many beams as items it ranks the whole catalogue. Where every beam has one way
left, the rest of all IDs is scored in one pass.

    tokens --read_histories--> History --search_items--> Recommendations
              once a user                  L - 1 wide steps

Shapes: `B` rows of histories, `P` users a row (1 unless packed), `U` = B P users, `K` beams, `L`
levels.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.core import ConfigError
from jaxrec.decode.cache import BeamCache
from jaxrec.decode.history import CacheDtype, History, read_histories
from jaxrec.decode.kv_cache import LanguageModel
from jaxrec.decode.levels import Beams, Recommendations, Search
from jaxrec.decode.search import NORMALIZE, Normalize, pick
from jaxrec.decode.strategies import BEST, Strategy
from jaxrec.ids import IdVocabulary, ItemIndex
from jaxrec.kernels import Implementation, flat_top_k


def beam_widths(index: ItemIndex, beams: int | Sequence[int]) -> tuple[int, ...]:
    """Beams kept after each level: at most `beams`, and no more than the trie has nodes there."""
    wanted = (beams,) * index.levels if isinstance(beams, int) else tuple(beams)
    if len(wanted) != index.levels or min(wanted) < 1:
        raise ConfigError(
            f"beams must be one positive width, or one for each of {index.levels} levels, got "
            f"{beams}"
        )
    return tuple(min(k, edges.shape[0]) for k, edges in zip(wanted, index.edges, strict=True))


def check_beams(num_items: int, beams: int) -> None:
    """Reject a beam width that the catalogue cannot fill, before any work.

    Raises:
      ConfigError: beams below 1 or above the number of items.
    """
    if not 1 <= beams <= num_items:
        raise ConfigError(
            f"decode.beams must lie between 1 and the catalogue's {num_items} items, got {beams}"
        )


@functools.partial(
    jax.jit,
    static_argnames=(
        "model",
        "vocabulary",
        "beams",
        "normalize",
        "strategy",
        "users",
        "start",
        "cache_dtype",
        "implementation",
    ),
)
def beam_search(
    model: LanguageModel,
    params: Any,
    index: ItemIndex,
    tokens: jax.Array,
    allowed: jax.Array | None = None,
    excluded: jax.Array | None = None,
    *,
    vocabulary: IdVocabulary,
    beams: int | tuple[int, ...],
    normalize: Normalize = "codes",
    strategy: Strategy = BEST,
    key: jax.Array | None = None,
    prefix: jax.Array | None = None,
    segments: jax.Array | None = None,
    users: int = 1,
    start: int = 0,
    cache_dtype: CacheDtype = "model",
    implementation: Implementation = "auto",
) -> Recommendations:
    """Generate the `beams` best items after each history: `read_histories` and `search_items`.

    Args:
      model: a decoder, or an encoder-decoder whose encoder reads the history (static).
      params: its parameters.
      index: all valid IDs.
      tokens: `[B, S]` int32 histories as tokens, padded with PAD (0) on either side.
      allowed: as of `search_items`.
      excluded: as of `search_items`.
      vocabulary: as of `search_items` (static).
      beams: as of `search_items` (static).
      normalize: as of `search_items` (static).
      strategy: as of `search_items` (static).
      key: as of `search_items`.
      prefix: `[B, S]` bool, as of `read_histories`.
      segments: `[B, S]` int32, as of `read_histories`.
      users: P, as of `read_histories` (static).
      start: as of `read_histories` (static).
      cache_dtype: as of `read_histories` (static).
      implementation: as of `search_items` (static).

    Returns:
      `Recommendations` of `[U, min(K, I)]`.
    """
    history = read_histories(
        model,
        params,
        tokens,
        prefix=prefix,
        segments=segments,
        users=users,
        start=start,
        cache_dtype=cache_dtype,
    )
    return search_items(
        model,
        params,
        index,
        history,
        allowed,
        excluded,
        vocabulary=vocabulary,
        beams=beams,
        normalize=normalize,
        strategy=strategy,
        key=key,
        implementation=implementation,
    )


@functools.partial(
    jax.jit,
    static_argnames=("model", "vocabulary", "beams", "normalize", "strategy", "implementation"),
)
def search_items(
    model: LanguageModel,
    params: Any,
    index: ItemIndex,
    history: History,
    allowed: jax.Array | None = None,
    excluded: jax.Array | None = None,
    *,
    vocabulary: IdVocabulary,
    beams: int | tuple[int, ...],
    normalize: Normalize = "codes",
    strategy: Strategy = BEST,
    key: jax.Array | None = None,
    implementation: Implementation = "auto",
) -> Recommendations:
    """Generate items after histories that were read.

    Args:
      model: as of `read_histories` (static).
      params: its parameters.
      index: all valid IDs.
      history: of B rows with P users each; users are counted row by row.
      allowed: `[U, I]` bool items that may be recommended (a region, a shelf); None for all.
      excluded: `[U, E]` int32 items that may not, such as the user's history, padded with -1; None
        for none. Costs O(E log E) a user, whatever I; with `allowed`, O(I).
      vocabulary: token numbers of the codes (static).
      beams: K after each level, or one width for each level (static).
      normalize: log-probabilities over all codes of a level, over the legal ones only, or over the
        whole vocabulary, whose logits are then computed (static).
      strategy: which beams are kept (static).
      key: typed random key of a random strategy.
      implementation: of the kernels, see `kernels.choose` (static).

    Returns:
      `Recommendations` of `[U, min(K, I)]`.

    Raises:
      ConfigError: settings that contradict one another.

    Cost a user: L - 1 steps of K tokens, each reading the history's keys and values once, and a
    search of O(K C_l) a level. The trace is unrolled over levels.
    """
    widths = _widths(index, beams, normalize, strategy, key)
    search = Search(
        model=model,
        params=params,
        index=index,
        history=history,
        vocabulary=vocabulary,
        widths=widths,
        normalize=normalize,
        strategy=strategy,
        implementation=implementation,
        alive=_alive(index, allowed, excluded),
        keys=None if key is None else jax.random.split(key, index.levels),
    )
    batch, users, width = history.state.shape
    # A history is one beam at the root of the trie.
    root = jnp.zeros((batch * users, 1), jnp.int32)
    zero = jnp.zeros(root.shape, jnp.float32)
    state = Beams(
        node=root,
        token=root,
        score=zero,
        rank=zero,
        ancestors=jnp.zeros((*root.shape, 0), jnp.int32),
    )
    cache = BeamCache.of_history(history.cache.key, history.cache.value, history.scale)
    state = search.choose(0, state, history.state.reshape(batch * users, 1, width))
    found = search.go_on(1, state, cache)
    if strategy.kind == "diverse":
        scores, order = flat_top_k(found.scores, found.scores.shape[1])
        return Recommendations(pick(found.items, order), scores)
    return found


def _widths(
    index: ItemIndex,
    beams: int | tuple[int, ...],
    normalize: Normalize,
    strategy: Strategy,
    key: jax.Array | None,
) -> tuple[int, ...]:
    """Check the settings; beams after each level."""
    widths = beam_widths(index, beams)
    if normalize not in NORMALIZE:
        raise ConfigError(f"normalize must be one of {NORMALIZE}, got {normalize!r}")
    if strategy.random != (key is not None):
        raise ConfigError(
            f"strategy {strategy.kind!r} {'needs a' if strategy.random else 'reads no'} key"
        )
    if strategy.free and normalize != "codes":
        raise ConfigError(
            f"strategy.free draws from all codes; set normalize='codes', got {normalize!r}"
        )
    if strategy.random and not strategy.free and normalize != "legal":
        raise ConfigError(
            f"strategy {strategy.kind!r} draws legal items; set normalize='legal', got "
            f"{normalize!r}"
        )
    if strategy.kind not in ("diverse", "sample"):
        return widths
    # Groups and draws are not limited by the number of nodes.
    if not isinstance(beams, int) or beams % strategy.groups:
        raise ConfigError(
            f"strategy {strategy.kind!r} needs one width for all levels, a multiple of its "
            f"{strategy.groups} groups; got beams={beams}"
        )
    return (beams,) * index.levels


def _alive(index: ItemIndex, allowed: jax.Array | None, excluded: jax.Array | None) -> Any:
    if allowed is not None and excluded is not None:
        rows = jnp.arange(allowed.shape[0], dtype=jnp.int32)[:, None]
        # -1 would be the last item; what lies beyond the end is dropped.
        out = jnp.where(excluded < 0, allowed.shape[1], excluded)
        allowed = allowed.at[rows, out].set(False, mode="drop")
        return index.restrict(allowed)
    if excluded is not None:
        return index.exclude(excluded)
    return None if allowed is None else index.restrict(allowed)
