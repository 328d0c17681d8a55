"""Weight tables: which tensor of a Hugging Face checkpoint is which leaf of our parameters.

A row names a tensor there, a path here and an einops pattern between the two layouts, so one row
serves reading, writing and the check of shapes.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping

import einops
import numpy as np

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weight:
    """One tensor there, one leaf here.

    Attributes:
      name: there; `{layer}` stands for the number of a block, which is the leading axis here.
      path: here, joined by "/".
      pattern: einops pattern from there to here, as "(n h) d -> d n h".
      part: of a tensor that holds several leaves side by side: (axis name, number, of how many),
        and the pattern puts that axis first, as "d (part n h) -> part d n h".
      add: added on the way here (Gemma stores its norm scales less one).
    """

    name: str
    path: str
    pattern: str
    part: tuple[int, int] | None = None
    add: float = 0.0

    @property
    def stacked(self) -> bool:
        """Whether the leaf has a leading axis of layers."""
        return "{layer}" in self.name

    def sizes(self, leaf: Shape) -> dict[str, int]:
        """Length of each axis of the pattern, from the shape of the leaf here."""
        ours = self.pattern.split("->")[1].split()
        lengths = leaf[1:] if self.stacked else leaf
        if self.part is not None:
            lengths = (self.part[1], *lengths)
        if len(ours) != len(lengths):
            raise ValueError(f"{self.path} has shape {leaf}, but the pattern is {self.pattern!r}")
        return dict(zip(ours, lengths, strict=True))

    def shape_there(self, leaf: Shape) -> Shape:
        """Shape of the tensor there, from the shape of the leaf here."""
        sizes = self.sizes(leaf)
        theirs = re.findall(r"\(([^)]*)\)|(\S+)", self.pattern.split("->")[0])
        return tuple(
            int(np.prod([sizes[axis] for axis in (group or single).split()], dtype=np.int64))
            for group, single in theirs
        )

    def here(self, tensor: np.ndarray, leaf: Shape) -> np.ndarray:
        """Bring one tensor (of one layer) into our layout."""
        found = einops.rearrange(tensor, self.pattern, **self.sizes(leaf))
        if self.part is not None:
            found = found[self.part[0]]
        return found + np.asarray(self.add, found.dtype) if self.add else found

    def there(self, leaves: list[np.ndarray], leaf: Shape) -> np.ndarray:
        """Bring one leaf (of one layer), or the parts of a tensor in order, into their layout."""
        left, right = self.pattern.split("->")
        found = np.stack(leaves) if self.part is not None else leaves[0]
        found = einops.rearrange(found, f"{right} -> {left}", **self.sizes(leaf))
        return found - np.asarray(self.add, found.dtype) if self.add else found


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """All weights of a model.

    Attributes:
      weights: one row a leaf.
      aliases: further names there of tensors that the table has: checkpoints may hold them, equal.
      ignored: patterns of tensors there that carry no weights (masks, inverse frequencies).
      renamed: pairs (pattern, replacement) from older spellings of names to today's.
    """

    weights: tuple[Weight, ...]
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()

    def by_path(self) -> dict[str, Weight]:
        """Rows by path here."""
        return {weight.path: weight for weight in self.weights}

    def current(self, name: str) -> str | None:
        """Today's spelling of a tensor's name there; None if it carries no weights."""
        for pattern, replacement in self.renamed:
            name = re.sub(pattern, replacement, name)
        if any(re.search(pattern, name) for pattern in self.ignored):
            return None
        return name

    def under(self, prefix: str, names: str = "") -> "Table":
        """The same weights below `prefix` here, and with `names` before every name there."""
        weights = (
            dataclasses.replace(w, path=prefix + w.path, name=names + w.name) for w in self.weights
        )
        aliases = {names + alias: names + name for alias, name in self.aliases.items()}
        return dataclasses.replace(self, weights=tuple(weights), aliases=aliases)

    def plus(self, weights: Iterable[Weight], aliases: Mapping[str, str] | None = None) -> "Table":
        """Add rows and aliases."""
        return dataclasses.replace(
            self,
            weights=(*self.weights, *weights),
            aliases={**self.aliases, **(aliases or {})},
        )


def dense(name: str, path: str, kernel: str, bias: str | None = None) -> list[Weight]:
    """Rows of PyTorch's linear layer: `weight` by pattern `kernel`, `bias`, if any, by `bias`."""
    rows = [Weight(name=f"{name}.weight", path=f"{path}/kernel", pattern=kernel)]
    if bias is not None:
        rows.append(Weight(name=f"{name}.bias", path=f"{path}/bias", pattern=bias))
    return rows


def norm(name: str, path: str, bias: bool = False, add: float = 0.0) -> list[Weight]:
    """Rows of a normalization."""
    rows = [Weight(name=f"{name}.weight", path=f"{path}/scale", pattern="d -> d", add=add)]
    if bias:
        rows.append(Weight(name=f"{name}.bias", path=f"{path}/bias", pattern="d -> d"))
    return rows
