"""Recommendations for any number of users, in batches of one shape."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from jaxrec.core import (
    ConfigError,
    DataError,
    ShardingRules,
    batch_sharding,
    check_numbers,
    present,
    sharded,
    ways,
)
from jaxrec.decode.batching import length_groups
from jaxrec.decode.beam import beam_search, search_items
from jaxrec.decode.history import History
from jaxrec.decode.kv_cache import LanguageModel
from jaxrec.decode.level import Normalize
from jaxrec.decode.next_k import next_items
from jaxrec.decode.options import Catalogue, Request, SearchOptions, check_beams
from jaxrec.decode.prompts import Prompts
from jaxrec.decode.sampled import Draws, sample_items
from jaxrec.decode.search import Recommendations
from jaxrec.decode.strategies import Strategy
from jaxrec.ids import PAD, IdVocabulary, ItemCodes, ItemIndex, pad_items, write_histories
from jaxrec.models import EncoderDecoder
from jaxrec.peft import virtual_of

# Most users times items for which lists of excluded items of very different lengths become masks,
# which are made for one batch at a time.
_MASKED = 1 << 26

# A mask costs as much for so many items of the catalogue as a list for one of its places. (CPU:
# 0.0047 us for each item, 1.0 us for each place.)
_PLACE = 200

ReadRows = Callable[[np.ndarray, np.ndarray], History]

ListStrategy = Literal["beam", "sample", "next_k"]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Recommender:
    """A trained model with its item IDs, ready to recommend.

    Attributes:
      model: a decoder, or an encoder-decoder whose encoder reads the histories.
      params: its parameters; None before there are any.
      codes: IDs of all items.
      index: the trie of those IDs.
      max_items: number of most recent items of a history that are read.
      beams: K, length of the list, and the beam width of a search.
      batch_size: users a call; a smaller last batch is filled up, so that one shape is compiled. A
        few users with very long lists of excluded items are called on their own.
      normalize: see `SearchOptions.normalize`.
      strategy: "beam": the best items. "sample": items that were drawn (`sample_items`). "next_k":
        each item in the context of those before it (`next_items`); only for a causal decoder.
      draws: how "sample" draws items.
      next_beams: beam width of "next_k" for each item; at most the number of items.
      groups: number of groups of a diverse search, see `recommend`.
      prefix: whether the items of a decoder's history see one another in both directions.
      mask_excluded: turn lists of excluded items into masks over all items, which share one program
        whatever the lengths of the lists; None does so where it is faster, see `masks_are_faster`,
        or where the lengths differ much.
      num_special: tokens before those of the IDs: PAD and BOS, or a whole text vocabulary.
      mesh: devices that share the users of a call, and on which the parameters lie; None for one
        device.
      rules: how arrays are laid out on the mesh.

    Raises:
      ConfigError: more beams than items, histories that are too long for learned positions, a batch
        that the devices do not divide, or "next_k" for a model that reads histories in both
        directions.

    Example:
      >>> from jaxrec.ids import simple
      >>> from jaxrec.testing.brute_force import make_case
      >>> case, codes = make_case(0, sizes=(6,), share=1.0), simple.independent(6)
      >>> recommender = Recommender(
      ...     model=case.model,
      ...     params=case.params,
      ...     codes=codes,
      ...     index=ItemIndex.build(codes),
      ...     max_items=4,
      ...     beams=6,
      ...     batch_size=3,
      ... )
      >>> items, scores = recommender.recommend([[0], [1, 5]], excluded=[[0], [1, 5]])
      >>> [sorted(row) for row in items.tolist()]
      [[-1, 1, 2, 3, 4, 5], [-1, -1, 0, 2, 3, 4]]
    """

    model: LanguageModel
    params: Any
    codes: ItemCodes
    index: ItemIndex
    max_items: int
    beams: int = 50
    batch_size: int = 128
    normalize: Normalize = "codes"
    strategy: ListStrategy = "beam"
    draws: Draws = Draws()
    next_beams: int = 8
    groups: int = 4
    prefix: bool = False
    mask_excluded: bool | None = None
    num_special: int = 2
    mesh: Mesh | None = None
    rules: ShardingRules = ShardingRules()

    def __post_init__(self) -> None:
        check_beams(self.index.num_items, self.beams)
        if self.strategy == "next_k" and (self.prefix or isinstance(self.model, EncoderDecoder)):
            raise ConfigError(
                "strategy 'next_k' adds items to a history that was read; a model that reads in "
                "both directions would have to read it all again; use 'beam' or 'sample'"
            )
        # BOS, the history, and the items that follow it but for the last token.
        following = self.beams if self.strategy == "next_k" else 1
        longest = (self.max_items + following) * self.codes.levels + virtual_of(self.params).read
        fix = "lower max_items, or tune.virtual_tokens if the model has virtual tokens"
        self.model.config.check_length(longest, f"histories of max_items {self.max_items}", fix)
        if self.batch_size % self.devices:
            raise ConfigError(
                f"decode.batch_size {self.batch_size} does not divide over {self.devices} "
                "data-parallel devices"
            )

    @property
    def devices(self) -> int:
        """Number of devices that share the users of a call: the smallest `batch_size`."""
        if self.mesh is None:
            return 1
        return ways(self.mesh, self.rules.mesh_axes("batch", self.mesh))

    @property
    def vocabulary(self) -> IdVocabulary:
        """The tokens that stand for the codes."""
        return IdVocabulary(sizes=self.codes.sizes, num_special=self.num_special)

    @property
    def catalogue(self) -> Catalogue:
        """The items that can be recommended."""
        return Catalogue(self.index, self.vocabulary)

    def recommend(
        self,
        histories: Sequence[np.ndarray],
        excluded: Sequence[np.ndarray] | None = None,
        progress: Callable[[int], None] = lambda done: None,
        starts: np.ndarray | None = None,
        allowed: Sequence[np.ndarray] | None = None,
        strengths: np.ndarray | None = None,
        read: ReadRows | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Generate the best items after each history.

        Args:
          histories: U arrays of items, oldest first.
          excluded: U arrays of items that are not recommended; None for none. In both, -1 is no
            item.
          progress: is called with the number of users done.
          starts: `[U]` int32 tokens that the histories begin with; None for BOS.
          allowed: U arrays of the only items that may be recommended; None for all.
          strengths: `[U]` float32, the penalty of a diverse search for each user, see
            `Strategy.strength`; such lists take the best item of each group in turn. None for a
            plain search.
          read: reads the histories of a call, such as from a cache, given the tokens `[B, S]` and
            the numbers of the rows; None reads them from the start.

        Returns:
          Items `[U, K]` int32 (-1 where fewer items are left than beams), and scores `[U, K]`
          float32.

        Raises:
          ConfigError: another number of lists of excluded or allowed items than of histories, or
            strengths or `read` with a strategy other than "beam".
          DataError: an item outside the catalogue, or log-probabilities that are not numbers.
        """
        tokens_of = self.vocabulary.tokens(self.codes.codes)
        tokens = write_histories(histories, tokens_of, self.max_items, starts)
        for what, lists in (("excluded", excluded), ("allowed", allowed)):
            if lists is None:
                continue
            if len(lists) != len(histories):
                raise ConfigError(
                    f"{len(lists)} lists of {what} items for {len(histories)} histories; give "
                    "one list for each"
                )
            check_numbers(lists, self.codes.num_items, f"{what} items")
        if (strengths is not None or read is not None) and self.strategy != "beam":
            raise ConfigError(
                f"strategy {self.strategy!r} has no diverse lists and reads histories itself; drop "
                "strengths and read, or use strategy 'beam'"
            )
        items = np.full((len(tokens), self.beams), -1, np.int32)
        scores = np.full((len(tokens), self.beams), -np.inf, np.float32)
        done = 0
        lengths = [0] * len(tokens) if excluded is None else [len(row) for row in excluded]
        groups = length_groups(lengths, self.batch_size, self.devices)
        # One program for masks of any length costs less than one program for each length.
        masked = self.mask_excluded
        if masked is None:
            count, width = self.index.num_items, max((group.width for group in groups), default=0)
            differ = len(groups) > 1 and len(tokens) * count <= _MASKED
            faster = masks_are_faster(self.batch_size, count, width)
            masked = self.strategy != "next_k" and excluded is not None and (differ or faster)
        if masked:
            groups = length_groups([0] * len(tokens), self.batch_size, self.devices)
        for group in groups:
            for rows, count in group.batches():
                out = mask = None
                if allowed is not None:
                    mask = _mask([allowed[row] for row in rows], self.index.num_items)
                if excluded is not None:
                    own = [excluded[row] for row in rows]
                    if masked:
                        kept = ~_mask(own, self.index.num_items)
                        mask = kept if mask is None else mask & kept
                    else:
                        out = self._put(pad_items(own, group.width))
                request = Request(
                    allowed=None if mask is None else self._put(mask),
                    excluded=out,
                    strength=None if strengths is None else self._put(strengths[rows]),
                )
                with self._placed():
                    if self.strategy == "beam":
                        best = self._searched(tokens[rows], rows, request, read)
                    else:
                        best = self._call(self._put(tokens[rows]), request, int(rows[0]))
                gathered = multihost_utils.process_allgather((best.items, best.scores), tiled=True)
                items[rows[:count]] = gathered[0][:count]
                scores[rows[:count]] = gathered[1][:count]
                done += count
                progress(done)
        if self.strategy != "sample":
            self._check_empty(items, excluded, allowed)
        return items, scores

    def _check_empty(
        self,
        items: np.ndarray,
        excluded: Sequence[np.ndarray] | None,
        allowed: Sequence[np.ndarray] | None,
    ) -> None:
        """Reject lists `[U, K]` without an item that could have had one.

        A search always reaches an item that is left, unless NaN hides all of them: a NaN never
        wins a comparison with another beam.
        """
        for row in np.flatnonzero(items[:, 0] < 0).tolist():
            left = np.arange(self.codes.num_items) if allowed is None else allowed[row]
            left = np.setdiff1d(left, () if excluded is None else excluded[row])
            if len(present(left)):
                raise DataError(
                    f"the search found none of {len(present(left)):,} items that are left for row "
                    f"{row}, because the model gives log-probabilities that are not numbers (NaN); "
                    "train the run again"
                )

    def _searched(
        self, tokens: np.ndarray, rows: np.ndarray, request: Request, read: ReadRows | None
    ) -> Recommendations:
        """Search for one batch of histories `[B, S]`."""
        options = SearchOptions(beams=self.beams, normalize=self.normalize)
        if request.strength is not None:
            strategy = Strategy(kind="diverse", groups=self.groups, in_turns=True)
            beams = -(-self.beams // self.groups) * self.groups
            options = dataclasses.replace(options, beams=beams, strategy=strategy)
        given = (self.model, self.params, self.catalogue)
        if read is None:
            best = beam_search(*given, self._prompts(self._put(tokens)), options, request)
        else:
            best = search_items(*given, read(tokens, rows), options, request)
        # Groups of one size have places for a few more items.
        return jax.tree.map(lambda x: x[:, : self.beams], best)

    def _prompts(self, tokens: jax.Array) -> Prompts:
        return Prompts(tokens=tokens, prefix=tokens != PAD if self.prefix else None)

    def _call(self, read: jax.Array, request: Request, first: int) -> Recommendations:
        """Recommend to one batch of histories, the first of which is user number `first`."""
        prompts = self._prompts(read)
        given = (self.model, self.params, self.catalogue, prompts)
        if self.strategy == "sample":
            key = jax.random.fold_in(jax.random.key(self.draws.seed), first)
            request = dataclasses.replace(request, key=key)
            return sample_items(*given, request, places=self.beams, draws=self.draws)
        width = min(self.next_beams, self.index.num_items)
        options = SearchOptions(beams=width, normalize=self.normalize)
        return next_items(*given, options, request, places=self.beams)

    def _put(self, rows: np.ndarray) -> jax.Array:
        """Move the rows of a call to their devices."""
        if self.mesh is None:
            return jnp.asarray(rows)
        return jax.device_put(rows, batch_sharding(self.mesh, self.rules))

    def _placed(self) -> contextlib.AbstractContextManager[Any]:
        if self.mesh is None:
            return contextlib.nullcontext()
        # A step of a search reads beams, not the tokens of a long row, so none are split.
        return sharded(self.mesh, dataclasses.replace(self.rules, sequence=None))


def masks_are_faster(users: int, num_items: int, width: int) -> bool:
    """Whether excluded items are better given as masks over all items than as lists.

    Args:
      users: of a call.
      num_items: I.
      width: length to which lists would be padded.

    Example:
      >>> masks_are_faster(128, 1682, 64), masks_are_faster(128, 100_000, 64)
      (True, False)
    """
    return users * num_items <= _MASKED and num_items <= _PLACE * width


def _mask(lists: Sequence[np.ndarray], num_items: int) -> np.ndarray:
    """Return which items are in each list, `[B, I]` bool."""
    mask = np.zeros((len(lists), num_items), bool)
    for row, items in zip(mask, lists, strict=True):
        row[present(items)] = True
    return mask
