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

from jaxrec.core import ConfigError, ShardingRules, batch_sharding, sharded, ways
from jaxrec.decode.beam import Normalize, beam_search, check_beams
from jaxrec.decode.kv_cache import LanguageModel
from jaxrec.decode.levels import Recommendations
from jaxrec.decode.next_k import next_items
from jaxrec.decode.sampled import Draws, sample_items
from jaxrec.ids import PAD, IdVocabulary, ItemCodes, ItemIndex, pad_items, write_histories
from jaxrec.models import EncoderDecoder
from jaxrec.peft import virtual_of

ListStrategy = Literal["beam", "sample", "next_k"]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Recommender:
    """A trained model with its item IDs, ready to be asked.

    Attributes:
      model: a decoder, or an encoder-decoder whose encoder reads the histories.
      params: its parameters; None before there are any.
      codes: IDs of all items.
      index: the trie of those IDs.
      max_items: most recent items of a history that are read.
      beams: K, length of the answer, and beam width where it is searched for.
      batch_size: users a call; a smaller last batch is filled up, so that one shape is compiled.
      normalize: see `beam_search`.
      strategy: "beam", the best items; "sample", items that were drawn (`sample_items`); "next_k",
        each item in the context of those before it (`next_items`), of a causal decoder alone.
      draws: of "sample".
      next_beams: of "next_k", width of the search for each item; at most the number of items.
      prefix: whether the items of a decoder's history see one another in both directions.
      num_special: tokens before those of the IDs: PAD and BOS, or a whole text vocabulary.
      mesh: devices that share the users of a call, and on which the parameters lie; None for one.
      rules: of the mesh.

    Raises:
      ConfigError: more beams than items, histories that are too long for learned positions, a batch
        that the devices do not divide, or "next_k" of a model that reads histories in both
        directions.
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
    prefix: bool = False
    num_special: int = 2
    mesh: Mesh | None = None
    rules: ShardingRules = ShardingRules()

    def __post_init__(self) -> None:
        check_beams(self.index.num_items, self.beams)
        if self.strategy == "next_k" and (self.prefix or isinstance(self.model, EncoderDecoder)):
            raise ConfigError(
                "strategy 'next_k' adds items to a history that was read, which a model that reads "
                "in both directions would have to read anew; use 'beam' or 'sample'"
            )
        # BOS, the history, and the items that follow it but for the last token.
        following = self.beams if self.strategy == "next_k" else 1
        longest = (self.max_items + following) * self.codes.levels + virtual_of(self.params).read
        fix = "lower max_items, or tune.virtual_tokens where there are such"
        self.model.config.check_length(longest, f"histories of max_items {self.max_items}", fix)
        if self.batch_size % self.devices:
            raise ConfigError(
                f"decode.batch_size {self.batch_size} does not divide over {self.devices} "
                "data-parallel devices"
            )

    @property
    def devices(self) -> int:
        """Devices that share the users of a call: the smallest `batch_size`."""
        if self.mesh is None:
            return 1
        return ways(self.mesh, self.rules.mesh_axes("batch", self.mesh))

    @property
    def vocabulary(self) -> IdVocabulary:
        """Token numbers of the codes."""
        return IdVocabulary(sizes=self.codes.sizes, num_special=self.num_special)

    def recommend(
        self,
        histories: Sequence[np.ndarray],
        excluded: Sequence[np.ndarray] | None = None,
        progress: Callable[[int], None] = lambda done: None,
        starts: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Generate the best items after each history.

        Args:
          histories: U arrays of items, oldest first.
          excluded: U arrays of items not to recommend; None for none.
          progress: called with the number of users done.
          starts: `[U]` int32 tokens that the histories begin with; None for BOS.

        Returns:
          items `[U, K]` int32 (-1 where fewer are left than beams), scores `[U, K]` float32.
        """
        tokens_of = self.vocabulary.tokens(self.codes.codes)
        tokens = write_histories(histories, tokens_of, self.max_items, starts)
        barred = None
        if excluded is not None:
            longest = max((len(items) for items in excluded), default=0)
            barred = pad_items(excluded, bucket(longest))
        items, scores = [], []
        for start in range(0, len(tokens), self.batch_size):
            rows = slice(start, start + self.batch_size)
            read = self._put(tokens[rows])
            with self._placed():
                found = self._call(read, None if barred is None else self._put(barred[rows]), start)
            count = len(tokens[rows])
            found = multihost_utils.process_allgather((found.items, found.scores), tiled=True)
            items.append(found[0][:count])
            scores.append(found[1][:count])
            progress(start + count)
        if not items:
            return np.zeros((0, self.beams), np.int32), np.zeros((0, self.beams), np.float32)
        return np.concatenate(items), np.concatenate(scores)

    def _call(self, read: jax.Array, excluded: jax.Array | None, first: int) -> Recommendations:
        """Lists of one batch of histories, the first of which is user number `first`."""
        given = (self.model, self.params, self.index, read)
        words, prefix = self.vocabulary, read != PAD if self.prefix else None
        if self.strategy == "sample":
            key = jax.random.fold_in(jax.random.key(self.draws.seed), first)
            return sample_items(
                *given,
                excluded,
                key=key,
                vocabulary=words,
                places=self.beams,
                draws=self.draws,
                prefix=prefix,
            )
        if self.strategy == "next_k":
            return next_items(
                *given,
                excluded,
                vocabulary=words,
                places=self.beams,
                beams=min(self.next_beams, self.index.num_items),
                normalize=self.normalize,
            )
        return beam_search(
            *given,
            excluded=excluded,
            vocabulary=words,
            beams=self.beams,
            normalize=self.normalize,
            prefix=prefix,
        )

    def _put(self, rows: np.ndarray) -> jax.Array:
        """Rows of a call on their devices."""
        filled = _fill(rows, self.batch_size)
        if self.mesh is None:
            return jnp.asarray(filled)
        return jax.device_put(filled, batch_sharding(self.mesh, self.rules))

    def _placed(self) -> contextlib.AbstractContextManager[Any]:
        if self.mesh is None:
            return contextlib.nullcontext()
        # Steps of a search are short: beams, not tokens of a long row.
        return sharded(self.mesh, dataclasses.replace(self.rules, sequence=None))


def bucket(size: int, smallest: int = 16) -> int:
    """Round up to a power of two, so that few shapes are ever compiled."""
    while smallest < size:
        smallest *= 2
    return smallest


def _fill(rows: np.ndarray, size: int) -> np.ndarray:
    """Repeat the last row until there are `size`."""
    return np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), axis=0)])
