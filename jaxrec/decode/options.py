"""The three values that describe a search for items: where, for what, and how.

    Catalogue      which items exist, and the tokens of their IDs        changes with the catalogue
    Request        which of them each user may get                       changes with every call
    SearchOptions  how wide, how normalized, which beams are kept        fixed: compiled in

`Catalogue` and `Request` hold arrays and are pytrees. `SearchOptions` is hashable and static under
`jax.jit`, so one compiled program serves all catalogues and requests of one shape.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError, check_mask, check_numbers
from jaxrec.decode.batching import bucket
from jaxrec.decode.level import NORMALIZE, Normalize
from jaxrec.decode.strategies import BEST, Strategy
from jaxrec.ids import IdVocabulary, ItemCodes, ItemIndex, pad_items
from jaxrec.kernels import Implementation


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Catalogue:
    """The items that can be generated.

    Attributes:
      index: the trie of all item IDs.
      vocabulary: the tokens that stand for the codes of an ID.

    Raises:
      ConfigError: the codebook sizes of the index and of the vocabulary differ.

    Example:
      >>> from jaxrec.ids import simple
      >>> catalogue = Catalogue.of_codes(simple.random(30, levels=2, size=8, seed=0))
      >>> catalogue.index.num_items, catalogue.vocabulary.offsets.tolist()
      (30, [2, 10])
    """

    index: ItemIndex
    vocabulary: IdVocabulary = dataclasses.field(metadata={"static": True})

    def __post_init__(self) -> None:
        # JAX also rebuilds pytrees with placeholders in the places of arrays and of their holders.
        if isinstance(self.index, ItemIndex) and self.index.sizes != self.vocabulary.sizes:
            raise ConfigError(
                f"catalogue: the index has codebooks of {self.index.sizes} codes, the vocabulary "
                f"of {self.vocabulary.sizes}; make both from the same item codes"
            )

    @classmethod
    def of_codes(cls, codes: ItemCodes, num_special: int = 2) -> "Catalogue":
        """Build the index of item codes, whose tokens follow `num_special` other tokens."""
        vocabulary = IdVocabulary(sizes=codes.sizes, num_special=num_special)
        return cls(ItemIndex.build(codes), vocabulary)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Request:
    """What one call asks for.

    Attributes:
      allowed: `[U, I]` bool, items that each user may get (a region, a shelf); None for all.
      excluded: `[U, E]` int32, items that each user must not get, such as those of the history,
        padded with -1; None for none. Costs O(E log E) a user, whatever the number of items, and
        O(I) together with `allowed`.
      key: typed random key; only for strategies that draw at random.
      strength: `[U]` float32, the penalty in nats of the strategy "diverse" for each user; None for
        that of the strategy. Users of one call may differ in it without another compilation.

    Example:
      >>> Request.excluding([[3, 5], []]).excluded[:, -3:].tolist()
      [[-1, 3, 5], [-1, -1, -1]]
    """

    allowed: jax.Array | None = None
    excluded: jax.Array | None = None
    key: jax.Array | None = None
    strength: jax.Array | None = None

    @classmethod
    def excluding(
        cls, items: Sequence[Sequence[int] | np.ndarray], allowed: jax.Array | None = None
    ) -> "Request":
        """Exclude lists of items; their longest length is rounded up to a power of two.

        Args:
          items: U lists of item numbers.
          allowed: see `Request.allowed`.
        """
        rows = [np.asarray(row, np.int32) for row in items]
        excluded = pad_items(rows, bucket(max(map(len, rows), default=0)))
        return cls(allowed=allowed, excluded=jnp.asarray(excluded))

    def check(self, num_items: int, users: int) -> None:
        """Check that the request is about these users and items.

        Args:
          num_items: I.
          users: U.

        Raises:
          ConfigError: `allowed`, `excluded` or `strength` does not have one row for each user, or
            `allowed` not one column for each item.
          DataError: an excluded item outside the catalogue.

        Example:
          >>> Request(excluded=np.array([[7]])).check(num_items=5, users=1)
          Traceback (most recent call last):
          jaxrec.core.errors.DataError: request.excluded: row 0 holds 7, which is not in 0..4; ...
        """
        if self.allowed is not None:
            check_mask(self.allowed, (users, num_items), "request.allowed")
        if self.excluded is not None:
            if self.excluded.ndim != 2 or self.excluded.shape[0] != users:
                raise ConfigError(
                    f"request.excluded must be [{users}, any], one row for each user, got "
                    f"{self.excluded.shape}"
                )
            check_numbers(self.excluded, num_items, "request.excluded")
        if self.strength is not None and self.strength.shape != (users,):
            raise ConfigError(
                f"request.strength must be [{users}], one number for each user, got "
                f"{self.strength.shape}"
            )

    def alive(self, index: ItemIndex) -> Any:
        """Return the edges of the trie that lead to an item of the request; None for all edges."""
        if self.allowed is None:
            return None if self.excluded is None else index.exclude(self.excluded)
        allowed = self.allowed
        if self.excluded is not None:
            rows = jnp.arange(allowed.shape[0], dtype=jnp.int32)[:, None]
            # -1 would be the last item; what lies beyond the end is dropped.
            out = jnp.where(self.excluded < 0, allowed.shape[1], self.excluded)
            allowed = allowed.at[rows, out].set(False, mode="drop")
        return index.restrict(allowed)


# Every user may get every item, and nothing is drawn.
ANY_ITEM = Request()


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How a search runs. Hashable, so that it is a static argument under `jax.jit`.

    Attributes:
      beams: K, beams kept after each level, and so the length of the list; or one width for each
        level.
      normalize: what log-probabilities are normalized over: all codes of a level, only the legal
        ones, or the whole vocabulary, whose logits are then computed.
      strategy: which beams are kept.
      implementation: which form of the kernels runs, see `kernels.choose`.

    Raises:
      ConfigError: a value out of range, or values that contradict one another.

    Example:
      >>> SearchOptions(beams=50).normalize
      'codes'
      >>> options = SearchOptions(beams=10, strategy=Strategy(kind="diverse", groups=5))
      >>> hash(options) == hash(dataclasses.replace(options))
      True
    """

    beams: int | tuple[int, ...]
    normalize: Normalize = "codes"
    strategy: Strategy = BEST
    implementation: Implementation = "auto"

    def __post_init__(self) -> None:
        if not isinstance(self.beams, int):
            object.__setattr__(self, "beams", tuple(int(width) for width in self.beams))
        widths = (self.beams,) if isinstance(self.beams, int) else self.beams
        if min(widths, default=0) < 1:
            raise ConfigError(f"beams must be at least 1 at every level, got {self.beams}")
        if self.normalize not in NORMALIZE:
            raise ConfigError(f"normalize must be one of {NORMALIZE}, got {self.normalize!r}")
        kind = self.strategy.kind
        if self.strategy.free and self.normalize != "codes":
            raise ConfigError(
                "strategy.free draws from all codes, legal or not; set normalize='codes', got "
                f"{self.normalize!r}"
            )
        if self.strategy.random and not self.strategy.free and self.normalize != "legal":
            raise ConfigError(
                f"strategy {kind!r} draws legal items; set normalize='legal', got "
                f"{self.normalize!r}"
            )
        # Groups and draws have one width: the number of nodes of a level does not limit them.
        if kind in ("diverse", "sample") and (
            not isinstance(self.beams, int) or self.beams % self.strategy.groups
        ):
            raise ConfigError(
                f"strategy {kind!r} needs one width for all levels, a multiple of its "
                f"{self.strategy.groups} groups; got beams={self.beams}"
            )

    def widths(self, index: ItemIndex) -> tuple[int, ...]:
        """Return the number of beams that are kept after each level of a trie."""
        if self.strategy.kind in ("diverse", "sample"):
            assert isinstance(self.beams, int)
            return (self.beams,) * index.levels
        return beam_widths(index, self.beams)

    def check_strength(self, strength: jax.Array | None) -> None:
        """Check that penalties are given to a strategy that reads them.

        Raises:
          ConfigError: they would be ignored.
        """
        if strength is not None and self.strategy.kind != "diverse":
            raise ConfigError(
                f"strategy {self.strategy.kind!r} reads no strength; drop it from the request, or "
                "use 'diverse'"
            )

    def check_key(self, key: jax.Array | None) -> None:
        """Check that a random strategy has a key, and that no other one has.

        Raises:
          ConfigError: a key is missing, or would be ignored.
        """
        if self.strategy.random != (key is not None):
            kind = self.strategy.kind
            raise ConfigError(
                f"strategy {kind!r} needs a key; give Request(key=jax.random.key(0))"
                if self.strategy.random
                else f"strategy {kind!r} reads no key; drop the key of the request"
            )


def beam_widths(index: ItemIndex, beams: int | Sequence[int]) -> tuple[int, ...]:
    """Return the number of beams after each level, at most the number of nodes that it has.

    Args:
      index: the trie.
      beams: one width for all levels, or one for each.

    Raises:
      ConfigError: a width below 1, or another number of widths than of levels.

    Example:
      >>> import numpy as np
      >>> index = ItemIndex.build(np.array([[0, 0], [0, 1], [0, 2], [1, 0]]), (2, 3))
      >>> beam_widths(index, 3)
      (2, 3)
    """
    wanted = (beams,) * index.levels if isinstance(beams, int) else tuple(beams)
    if len(wanted) != index.levels or min(wanted) < 1:
        raise ConfigError(
            f"beams must be one positive width, or one for each of {index.levels} levels, got "
            f"{beams}"
        )
    return tuple(min(k, edges.shape[0]) for k, edges in zip(wanted, index.edges, strict=True))


def check_beams(num_items: int, beams: int) -> None:
    """Check, before any work is done, that the catalogue can fill so many beams.

    Raises:
      ConfigError: beams below 1 or above the number of items.

    Example:
      >>> check_beams(num_items=30, beams=10)
    """
    if not 1 <= beams <= num_items:
        raise ConfigError(
            f"decode.beams must lie between 1 and the catalogue's {num_items} items, got {beams}"
        )
