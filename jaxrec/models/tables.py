"""Weight tables, which map tensors of a Hugging Face checkpoint to leaves of our parameters.

A row holds Hugging Face's tensor name, our path, and an einops pattern between the two layouts. The
same row serves for reading, for writing and for checking shapes.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping

import einops
import numpy as np

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weight:
    """One of Hugging Face's tensors and our leaf for it.

    Attributes:
      name: Hugging Face's name; `{layer}` stands for the number of a block. Our leaf then has a
        leading axis of blocks.
      path: our path, joined by "/".
      pattern: einops pattern from their layout to ours, as in "(n h) d -> d n h".
      part: (which, of how many) if the tensor holds several leaves side by side; the pattern then
        puts that axis first, as in "d (part n h) -> part d n h".
      add: number added on import and subtracted on export (Gemma stores its norm scales minus one).
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
        """Return the length of each axis of the pattern, given the shape of our leaf."""
        ours = self.pattern.split("->")[1].split()
        lengths = leaf[1:] if self.stacked else leaf
        if self.part is not None:
            lengths = (self.part[1], *lengths)
        if len(ours) != len(lengths):
            raise ValueError(
                f"{self.path} has shape {leaf}, which does not match the pattern {self.pattern!r}"
            )
        return dict(zip(ours, lengths, strict=True))

    def shape_there(self, leaf: Shape) -> Shape:
        """Return the shape of Hugging Face's tensor, given the shape of our leaf."""
        sizes = self.sizes(leaf)
        theirs = re.findall(r"\(([^)]*)\)|(\S+)", self.pattern.split("->")[0])
        return tuple(
            int(np.prod([sizes[axis] for axis in (group or single).split()], dtype=np.int64))
            for group, single in theirs
        )

    def here(self, tensor: np.ndarray, leaf: Shape) -> np.ndarray:
        """Bring one of Hugging Face's tensors, of one layer, into our layout."""
        ours = einops.rearrange(tensor, self.pattern, **self.sizes(leaf))
        if self.part is not None:
            ours = ours[self.part[0]]
        return ours + np.asarray(self.add, ours.dtype) if self.add else ours

    def there(self, leaves: list[np.ndarray], leaf: Shape) -> np.ndarray:
        """Bring one leaf of one layer into Hugging Face's layout.

        `leaves` holds that leaf or, for a tensor of several parts, all parts in order.
        """
        left, right = self.pattern.split("->")
        theirs = np.stack(leaves) if self.part is not None else leaves[0]
        theirs = einops.rearrange(theirs, f"{right} -> {left}", **self.sizes(leaf))
        return theirs - np.asarray(self.add, theirs.dtype) if self.add else theirs


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """All weights of a model.

    Attributes:
      weights: one row per leaf.
      aliases: additional names of tensors in the table, mapped to the main ones. A checkpoint may
        hold a tensor under both names if the values are equal.
      ignored: patterns of names of tensors that are not weights (masks, inverse frequencies).
      renamed: pairs (pattern, replacement) that turn old names of tensors into current ones.
    """

    weights: tuple[Weight, ...]
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()

    def by_path(self) -> dict[str, Weight]:
        """Return the rows by our path."""
        return {weight.path: weight for weight in self.weights}

    def current(self, name: str) -> str | None:
        """Return the current name of one of Hugging Face's tensors; None if it is no weight."""
        for pattern, replacement in self.renamed:
            name = re.sub(pattern, replacement, name)
        if any(re.search(pattern, name) for pattern in self.ignored):
            return None
        return name

    def under(self, prefix: str, names: str = "") -> "Table":
        """Put `prefix` before all of our paths, and `names` before all of their names."""
        weights = (
            dataclasses.replace(w, path=prefix + w.path, name=names + w.name) for w in self.weights
        )
        aliases = {names + alias: names + name for alias, name in self.aliases.items()}
        return dataclasses.replace(self, weights=tuple(weights), aliases=aliases)

    def plus(self, weights: Iterable[Weight], aliases: Mapping[str, str] | None = None) -> "Table":
        """Return the table with additional rows and aliases."""
        return dataclasses.replace(
            self,
            weights=(*self.weights, *weights),
            aliases={**self.aliases, **(aliases or {})},
        )


def dense(name: str, path: str, kernel: str, bias: str | None = None) -> list[Weight]:
    """Return the rows of a linear layer of PyTorch.

    Args:
      name: Hugging Face's name of the layer.
      path: our path of the layer.
      kernel: pattern of `weight`.
      bias: pattern of `bias`; None without a bias.
    """
    rows = [Weight(name=f"{name}.weight", path=f"{path}/kernel", pattern=kernel)]
    if bias is not None:
        rows.append(Weight(name=f"{name}.bias", path=f"{path}/bias", pattern=bias))
    return rows


def norm(name: str, path: str, bias: bool = False, add: float = 0.0) -> list[Weight]:
    """Return the rows of a normalization layer; `add` is `Weight.add` of its scale."""
    rows = [Weight(name=f"{name}.weight", path=f"{path}/scale", pattern="d -> d", add=add)]
    if bias:
        rows.append(Weight(name=f"{name}.bias", path=f"{path}/bias", pattern="d -> d"))
    return rows
