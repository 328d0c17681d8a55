"""The settings of item IDs, and which of them each scheme reads."""

import dataclasses
from typing import Literal

from jaxrec.core import ConfigError, Count, PositiveShare, Seed, Share, Whole, check_ranges
from jaxrec.ids import RqVaeConfig, collisions, cooccurrence, external, pq, simple, svd

# Places per item, most levels, and largest codebook unless the items need a larger one, of "auto".
_PLACES, _MOST_LEVELS, _LARGEST = 1000, 8, 2048
_VECTORS = ("text_encoder", "text_fields", "text_weight", "dim", "window", "decay", "seed")
# The settings that each scheme reads. Changing any other setting does not change its IDs.
READS: dict[str, tuple[str, ...]] = {
    "pq": ("levels", "size", "rotate", *_VECTORS, "repair"),
    "rq": ("levels", "size", *_VECTORS, "repair"),
    "rqvae": ("levels", "size", "rqvae", *_VECTORS, "repair"),
    "svd": ("levels", "size", "bins", "seed", "repair"),
    "collaborative": ("clusters", "leaf", "weighting", "window", "decay", "seed"),
    "semantic": ("category_field", "max_length"),
    "textual": ("title_field", "tokenizer", "max_length", "repair"),
    "sequential": ("size", "user_order", "seed"),
    "random": ("levels", "size", "seed"),
    "independent": (),
    "external": ("file", "unknown", "repair"),
}
# The schemes of the two parts of a hybrid.
HYBRIDS: dict[str, tuple[str, str]] = {
    "cid+iid": ("collaborative", "independent"),
    "semid+iid": ("semantic", "independent"),
    "sid+iid": ("sequential", "independent"),
    "pq+iid": ("pq", "independent"),
    "semid+cid": ("semantic", "collaborative"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class IdConfig:
    """How items are written as codes.

    Each scheme reads some of the settings, which `READS` lists. The description of a setting ends
    with the schemes that read it.

    Attributes:
      scheme: what IDs are made of. From item vectors: "pq" (product quantization), "rq" (residual
        k-means) and "rqvae" (residual quantization by a VAE). From interactions: "svd",
        "collaborative" and "sequential". From texts: "semantic" (categories) and "textual"
        (titles). From two of these: "hybrid". From a file: "external". Controls: "random" (random
        codes) and "independent" (one token per item).
      levels: L, number of codes in an ID; "auto" for 3, or for what `size` needs (pq, rq, rqvae,
        svd, random).
      size: C, codes per level: one number, or one number per level (pq, rq, rqvae, svd, random).
        For sequential IDs it is the base in which numbers are written. "auto" fits the catalogue:
        see `sized`.
      text_encoder: source of the text vectors: "tfidf", the directory of a sentence encoder, or
        "auto" for the sentence encoder that `models.find_sentence_encoder` finds and TF-IDF if it
        finds none (pq, rq, rqvae).
      text_fields: item fields whose texts are encoded. Of the default, fields that the data do not
        have are skipped; other fields must exist (pq, rq, rqvae).
      text_weight: share of the text vectors in the joined item vectors; collaborative vectors have
        the rest (pq, rq, rqvae).
      dim: width of the text vectors and of the collaborative vectors (pq, rq, rqvae).
      window: largest distance at which two items of a history count as co-occurring; 0 for the
        whole history (pq, rq, rqvae, collaborative).
      decay: a co-occurrence at distance d has weight decay^(d-1) (pq, rq, rqvae, collaborative).
      rotate: rotation of the vectors: "none", "balanced" or "opq" (pq).
      rqvae: the autoencoder and its training (rqvae).
      bins: "quantile", or "width" as a control (svd).
      clusters: N, number of parts into which a cluster is split (collaborative).
      leaf: k, largest cluster that is not split (collaborative).
      weighting: weights of the co-occurrence graph: "counts", "ppmi" or "degree" (collaborative).
      category_field: item field with the categories, the widest first, separated by " | "
        (semantic).
      title_field: item field with the title (textual).
      tokenizer: directory of the tokenizer that splits titles; "" splits them into words (textual).
      max_length: largest number of categories or title tokens used; 0 for all (semantic, textual).
      user_order: order in which users are visited (sequential).
      hybrid: the two parts of a hybrid ID: collaborative, semantic, sequential or quantized IDs
        (cid, semid, sid, pq) with a token of the item's own (iid), or semantic with collaborative
        IDs. A hybrid reads the settings of its parts; the codes of pq precede the token, so they
        may be few.
      file: JSON or CSV file with the IDs (external).
      unknown: what to do with items of the file that the data do not have: "refuse" or "ignore"
        (external).
      repair: how collisions are repaired: "next_free" moves items to the nearest free ID, "suffix"
        adds a level, "refuse" raises an error (pq, rq, rqvae, svd, textual, external).
      seed: seed of clustering and of every random draw.

    Raises:
      ConfigError: a number is out of range, or a setting that the scheme reads has an impossible
        value.

    Example:
      >>> config = IdConfig(scheme="rq", levels=3, size=16)
      >>> config.level_sizes, config.reads("text_fields"), config.reads("clusters")
      ((16, 16, 16), True, False)
    """

    scheme: Literal[
        "pq",
        "rq",
        "rqvae",
        "svd",
        "collaborative",
        "semantic",
        "textual",
        "sequential",
        "random",
        "independent",
        "hybrid",
        "external",
    ] = "pq"
    levels: Literal["auto"] | Count = "auto"
    size: Literal["auto"] | Count | tuple[Count, ...] = "auto"
    text_encoder: str = "auto"
    text_fields: tuple[str, ...] = ("title", "year", "genres", "categories")
    text_weight: Share = 0.5
    dim: Count = 64
    window: Whole = 10
    decay: PositiveShare = 0.9
    rotate: pq.Rotation = "none"
    rqvae: RqVaeConfig = RqVaeConfig()
    bins: svd.Bins = "quantile"
    clusters: Count = 10
    leaf: Count = 50
    weighting: cooccurrence.Weighting = "counts"
    category_field: str = "genres"
    title_field: str = "title"
    tokenizer: str = ""
    max_length: Whole = 0
    user_order: simple.Order = "time"
    hybrid: Literal["cid+iid", "semid+iid", "sid+iid", "pq+iid", "semid+cid"] = "cid+iid"
    file: str = ""
    unknown: external.Unknown = "refuse"
    repair: collisions.Method = "next_free"
    seed: Seed = 0

    @property
    def parts(self) -> tuple[str, ...]:
        """The schemes in use: two for a hybrid, otherwise one."""
        return HYBRIDS[self.hybrid] if self.scheme == "hybrid" else (self.scheme,)

    def reads(self, setting: str) -> bool:
        """Whether the scheme reads a setting; if not, the setting does not change any ID."""
        if setting in ("scheme", "hybrid"):
            return setting == "scheme" or self.scheme == "hybrid"
        return any(setting in READS[part] for part in self.parts)

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """Codebook size of each level, for schemes that read both `levels` and `size`."""
        assert self.levels != "auto" and self.size != "auto", "call `sized` first"
        return (self.size,) * self.levels if isinstance(self.size, int) else self.size

    def sized(self, num_items: int) -> "IdConfig":
        """The config with numbers in place of "auto".

        Vectors of items crowd together, so a grid with one place per item has many collisions. With
        1,000 places per item, at most 16 % of the items of MovieLens-100K and Amazon Beauty had to
        be given another ID (text weight .5; items whose texts are alike collide on any grid).
        Numbers of codes are powers of two. A level has at most 2,048 codes, and at most a quarter
        of the items, unless the items need more. Sequential IDs have base 64.

        Args:
          num_items: I.

        Example:
          >>> config = IdConfig(scheme="pq").sized(12_101)
          >>> config.levels, config.size
          (3, 256)
          >>> IdConfig(scheme="pq", size=64).sized(12_101).levels
          4
        """
        levels, size = self.levels, self.size
        if not self.reads("levels"):
            levels = 2 if levels == "auto" else levels
            return dataclasses.replace(self, levels=levels, size=64 if size == "auto" else size)
        places = _PLACES * num_items
        if levels == "auto" and isinstance(size, int):
            # A level of one code tells no items apart, however many levels there are.
            counts = (n for n in range(2, _MOST_LEVELS) if size**n >= places)
            levels = next(counts, _MOST_LEVELS)
        elif levels == "auto":
            levels = len(size) if isinstance(size, tuple) else 3
        if size == "auto":
            size, most = 2, min(max(num_items // 4, 8), _LARGEST)
            while size ** int(levels) < places and 2 * size <= most:
                size *= 2
            while size ** int(levels) < num_items:
                size *= 2
        return dataclasses.replace(self, levels=levels, size=size)

    def __post_init__(self) -> None:
        """Reject values from which the scheme cannot make IDs."""
        check_ranges(self, "--ids.")
        if self.window == 0:
            self._check("decay", self.decay == 1, "1 if ids.window is 0 (whole histories)")
        if self.reads("levels"):
            fixed = self.levels != "auto" and self.size != "auto"
            self._check(
                "size",
                not fixed or len(self.level_sizes) == self.levels,
                f"one number{'' if self.levels == 1 else f', or {self.levels} numbers'} because "
                f"ids.levels is {self.levels}",
            )
        elif self.reads("size"):
            whole = self.size == "auto" or (isinstance(self.size, int) and self.size >= 2)
            self._check(
                "size", whole, "one number of at least 2, because it is the base of sequential IDs"
            )
        self._check(
            "clusters",
            2 <= self.clusters <= self.leaf,
            f"at least 2 and at most ids.leaf ({self.leaf})",
        )
        self._check("file", bool(self.file), "the path of a JSON or CSV file with IDs")
        if self.scheme == "textual":
            self._check(
                "repair",
                self.repair != "next_free",
                "'suffix' or 'refuse', because titles have no grid of free IDs",
            )

    def _check(self, name: str, good: bool, wanted: str) -> None:
        if self.reads(name) and not good:
            raise ConfigError(f"ids.{name} must be {wanted}, got {getattr(self, name)!r}")
