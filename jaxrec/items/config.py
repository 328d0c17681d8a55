"""Settings of the item IDs, and which of them each scheme reads."""

import dataclasses
from typing import Literal

from jaxrec.core import ConfigError
from jaxrec.ids import RqVaeConfig, collisions, cooccurrence, external, pq, simple, svd

_VECTORS = ("text_encoder", "text_fields", "text_weight", "dim", "window", "decay", "seed")
# Settings that a scheme reads; changing another changes no ID.
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
# The schemes of a hybrid's two parts.
HYBRIDS: dict[str, tuple[str, str]] = {
    "cid+iid": ("collaborative", "independent"),
    "semid+iid": ("semantic", "independent"),
    "sid+iid": ("sequential", "independent"),
    "semid+cid": ("semantic", "collaborative"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class IdConfig:
    """How items are written as codes. A scheme reads some of the settings, see `READS`.

    Attributes:
      scheme: "pq", "rq", "rqvae": product quantization, residual quantization by k-means or by a
        VAE, of item vectors; "svd", "collaborative", "sequential": of who met what; "semantic",
        "textual": categories, titles; "hybrid": two of these; "external": read from a file; and
        the controls "random" (codes) and "independent" (one token an item).
      levels: L, codes an item (pq, rq, rqvae, svd, random).
      size: C, codes a level: one number, or one a level (pq, rq, rqvae, svd, random); of
        sequential IDs the base that numbers are written to.
      text_encoder: what makes the text vectors: "tfidf", the directory of a sentence encoder, or
        "auto": the sentence encoder that `models.sentences.find_sentence_encoder` finds, or else
        TF-IDF (pq, rq, rqvae, as are the next four).
      text_fields: item fields that make the text vectors; those that the data lack are left out.
      text_weight: share of the text vectors in the joined vectors; the rest is collaborative.
      dim: width of each block of vectors.
      window: items apart up to which two items of a history count as co-occurring; 0 for all
        (collaborative too).
      decay: weight of a co-occurrence d places apart is decay^(d-1) (collaborative too).
      rotate: "balanced" or "opq" rotations of the vectors, or "none" (pq).
      rqvae: the autoencoder and its training (rqvae).
      bins: "quantile", or as a control "width" (svd).
      clusters: N, parts that a cluster is split into (collaborative).
      leaf: k, most items of a cluster that is not split (collaborative).
      weighting: of the co-occurrence graph: "counts", "ppmi" or "degree" (collaborative).
      category_field: item field with the categories, widest first, " | " between (semantic).
      title_field: item field with the title (textual).
      tokenizer: directory of the tokenizer that cuts titles; "" for words (textual).
      max_length: categories or title tokens of an ID that count; 0 for all (semantic, textual).
      user_order: in which the users are walked through (sequential).
      hybrid: collaborative, semantic or sequential IDs (CID, SemID, SID) with a token of the item's
        own (IID), or semantic with collaborative ones. It reads what its parts read.
      file: JSON or CSV file of IDs (external).
      unknown: what to do about items of the file that the data lack: "refuse" or "ignore".
      repair: of collisions: nearest free ID, an added level, or refusal (pq, rq, rqvae, svd,
        textual, external).
      seed: of the clustering and of all that is drawn.
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
    levels: int = 2
    size: int | tuple[int, ...] = 64
    text_encoder: str = "auto"
    text_fields: tuple[str, ...] = ("title", "year", "genres", "categories")
    text_weight: float = 0.5
    dim: int = 64
    window: int = 10
    decay: float = 0.9
    rotate: pq.Rotation = "none"
    rqvae: RqVaeConfig = RqVaeConfig()
    bins: svd.Bins = "quantile"
    clusters: int = 10
    leaf: int = 50
    weighting: cooccurrence.Weighting = "counts"
    category_field: str = "genres"
    title_field: str = "title"
    tokenizer: str = ""
    max_length: int = 0
    user_order: simple.Order = "time"
    hybrid: Literal["cid+iid", "semid+iid", "sid+iid", "semid+cid"] = "cid+iid"
    file: str = ""
    unknown: external.Unknown = "refuse"
    repair: collisions.Method = "next_free"
    seed: int = 0

    @property
    def parts(self) -> tuple[str, ...]:
        """The schemes at work: two of a hybrid, else one."""
        return HYBRIDS[self.hybrid] if self.scheme == "hybrid" else (self.scheme,)

    def reads(self, setting: str) -> bool:
        """Whether the scheme reads a setting, which otherwise changes no ID."""
        if setting in ("scheme", "hybrid"):
            return setting == "scheme" or self.scheme == "hybrid"
        return any(setting in READS[part] for part in self.parts)

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """Codes of each level, where `levels` and `size` say so."""
        return (self.size,) * self.levels if isinstance(self.size, int) else self.size

    def __post_init__(self) -> None:
        """Reject values that make no IDs of the scheme."""
        for name, least in (("levels", 1), ("dim", 1), ("window", 0), ("max_length", 0)):
            self._check(name, getattr(self, name) >= least, f"at least {least}")
        sizes = (self.size,) if isinstance(self.size, int) else self.size
        self._check("size", bool(sizes) and min(sizes) >= 1, "at least 1 at every level")
        self._check("text_weight", 0 <= self.text_weight <= 1, "in [0, 1]")
        self._check("decay", 0 < self.decay <= 1, "in (0, 1]")
        if self.window == 0:
            self._check("decay", self.decay == 1, "1 where ids.window is 0 (whole histories)")
        if self.reads("levels"):
            self._check(
                "size",
                len(self.level_sizes) == self.levels,
                f"one number, or {self.levels}, as ids.levels is {self.levels}",
            )
        elif self.reads("size"):
            whole = isinstance(self.size, int) and self.size >= 2
            self._check("size", whole, "one number of at least 2, the base of sequential IDs")
        self._check(
            "clusters",
            2 <= self.clusters <= self.leaf,
            f"2 or more, and at most ids.leaf ({self.leaf})",
        )
        self._check("file", bool(self.file), "the JSON or CSV file of external IDs")
        if self.scheme == "textual":
            self._check(
                "repair",
                self.repair != "next_free",
                "'suffix' or 'refuse', as titles have no grid of free IDs",
            )

    def _check(self, name: str, good: bool, wanted: str) -> None:
        if self.reads(name) and not good:
            raise ConfigError(f"ids.{name} must be {wanted}, got {getattr(self, name)!r}")
