"""The PyTorch module that holds each of our kernels, derived from the weight tables.

A row of a weight table describes how a tensor becomes a kernel. The same pattern describes how the
two thin matrices of a LoRA update are converted, and which axis of the tensor is the input.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping

import einops
import numpy as np

from jaxrec.models import ModelSpec, Table
from jaxrec.nn import KernelSpec
from jaxrec.peft.lora import tunable

LAYER = "{layer}"
# The head's name in every family that ties it to the embedding.
HEAD = "lm_head.weight"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Site:
    """One of our layers and the PyTorch module that holds it.

    Attributes:
      path: path of our layer.
      module: name of the PyTorch module, with `{layer}` for the number of a block.
      kernel: the kernel of our layer, `[I, O]` as a matrix.
      inner, outer: axes of the module's input and output in PyTorch's order, such as "part n h".
      inner_here, outer_here: the same axes in our order, without "part".
      part: if the module's output holds several layers side by side, the number of this layer and
        their count; else None.
      input_first: whether the module stores its input axis first (Conv1D) or last (Linear).
    """

    path: str
    module: str
    kernel: KernelSpec
    inner: str
    outer: str
    inner_here: str
    outer_here: str
    part: tuple[int, int] | None
    input_first: bool

    @property
    def is_embedding(self) -> bool:
        """Whether the layer is an embedding, whose input is a token number."""
        return self.path.endswith("embedding")

    @property
    def width_there(self) -> int:
        """Size of the module's output, over all parts."""
        return self.kernel.outer * (self.part[1] if self.part else 1)

    def name(self, layer: int) -> str:
        """The module's name in one block."""
        return self.module.replace(LAYER, str(layer))

    def down_here(self, a: np.ndarray) -> np.ndarray:
        """Convert PEFT's A `[R, I]` to ours, `[I, R]`."""
        return self._rearrange(a, f"r ({self.inner}) -> ({self.inner_here}) r")

    def down_there(self, a: np.ndarray) -> np.ndarray:
        """Convert our A `[I, R]` to PEFT's, `[R, I]`."""
        return self._rearrange(a, f"({self.inner_here}) r -> r ({self.inner})")

    def up_here(self, b: np.ndarray) -> np.ndarray:
        """Convert PEFT's B `[O of all parts, R]` to ours for this part, `[R, O]`."""
        part = "" if self.part is None else "part "
        found = self._rearrange(b, f"({self.outer}) r -> {part}r ({self.outer_here})")
        return found if self.part is None else found[self.part[0]]

    def up_there(self, parts: np.ndarray) -> np.ndarray:
        """Convert our B of all parts, `[parts, R, O]`, to PEFT's, `[O of all parts, R]`."""
        part = "" if self.part is None else "part "
        ours = parts[0] if self.part is None else parts
        return self._rearrange(ours, f"{part}r ({self.outer_here}) -> ({self.outer}) r")

    def _rearrange(self, array: np.ndarray, pattern: str) -> np.ndarray:
        axes = f"{self.inner_here} {self.outer_here}".split()
        sizes = dict(zip(axes, self.kernel.shape, strict=True))
        if self.part is not None:
            sizes["part"] = self.part[1]
        used = set(re.findall(r"\w+", pattern))
        return einops.rearrange(array, pattern, **{k: v for k, v in sizes.items() if k in used})


def sites(spec: ModelSpec, table: Table) -> list[Site]:
    """List every layer that LoRA can change, with each PyTorch module that holds it.

    A table that several modules share gives one site for each of them: the two stacks of T5 have
    separate embedding modules with tied weights.
    """
    kernels = tunable(spec.shapes())
    found = []
    for row in table.weights:
        path, _, leaf = row.path.rpartition("/")
        if leaf == "kernel":
            found.append(_site(path, row.name, row.pattern, row.part, kernels[path]))
        elif leaf == "table" and path.endswith("embedding"):
            tied = [alias for alias, name in table.aliases.items() if name == row.name]
            stacks = [alias for alias in tied if alias.endswith("embed_tokens.weight")]
            for name in stacks or [row.name]:
                found.append(_site(path, name, row.pattern, None, kernels[path]))
            if HEAD in tied:
                found.append(_head(path.removesuffix("embedding") + "head", HEAD, kernels))
        elif leaf == "table":
            found.append(_head(path, row.name, kernels))
    return found


def _head(path: str, name: str, kernels: Mapping[str, KernelSpec]) -> Site:
    # The table is `[V, D]` on both sides, but as a layer the head maps states to logits.
    return _site(path, name, "v d -> d v", None, kernels[path])


def _site(
    path: str, name: str, pattern: str, part: tuple[int, int] | None, kernel: KernelSpec
) -> Site:
    left, right = pattern.split("->")
    ours = right.split()[int(part is not None) :]
    inner, outer = ours[: kernel.contracted], ours[kernel.contracted :]
    first, second = (group or single for group, single in re.findall(r"\(([^)]*)\)|(\S+)", left))
    input_first = set(first.split()) == set(inner)
    return Site(
        path=path,
        module=name.removesuffix(".weight"),
        kernel=kernel,
        inner=first if input_first else second,
        outer=second if input_first else first,
        inner_here=" ".join(inner),
        outer_here=" ".join(outer),
        part=part,
        input_first=input_first,
    )


def modules(table: Table) -> set[str]:
    """Return the names of all PyTorch modules that hold weights."""
    names = [row.name for row in table.weights]
    return {name.rpartition(".")[0] for name in [*names, *table.aliases]}


def shortest(chosen: Mapping[str, int | None], every: Iterable[str]) -> list[str]:
    """Return name suffixes that match the chosen modules and no others; PEFT matches by suffix.

    Args:
      chosen: chosen modules with their number of blocks; None for a module outside the blocks.
      every: all modules, including the chosen ones.

    Returns:
      For each module one suffix for all blocks if possible; otherwise its full name in each block.
    """
    others = [module for module in every if module not in chosen]
    found: set[str] = set()
    for module, layers in chosen.items():
        parts = module.split(".")
        ends = (".".join(parts[-count:]) for count in range(1, len(parts) + 1))
        good = (
            end for end in ends if LAYER not in end and not any(o.endswith(end) for o in others)
        )
        end = next(good, None)
        if end is not None:
            found.add(end)
        else:
            found |= {module.replace(LAYER, str(layer)) for layer in range(layers or 1)}
    return sorted(found)


def regex(module: str) -> str:
    """Return the pattern of a module's name in all blocks, for PEFT's rank and alpha patterns."""
    return r"\d+".join(re.escape(piece) for piece in module.split(LAYER))
