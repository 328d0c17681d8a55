"""Which module of PyTorch holds which of our kernels, derived from the weight tables.

A row of a table says how a tensor becomes a kernel; the same pattern says how the two thin matrices
of an update become ours, and which of the tensor's axes is the input.
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
    """One of our layers as it lies in a module there.

    Attributes:
      path: of the layer here.
      module: there; `{layer}` stands for the number of a block.
      kernel: of the layer here, `[I, O]` as a matrix.
      inner, outer: axes of the module's input and output there, as "part n h".
      inner_here, outer_here: the same axes in our order, without that of parts.
      part: of a module that holds several layers side by side in its output: number, of how many.
      input_first: whether the module stores its input axis first (Conv1D) and not last (Linear).
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
        """Whether the input is a token's number."""
        return self.path.endswith("embedding")

    @property
    def width_there(self) -> int:
        """Size of the module's output there: that of all parts."""
        return self.kernel.outer * (self.part[1] if self.part else 1)

    def name(self, layer: int) -> str:
        """The module's name in one block."""
        return self.module.replace(LAYER, str(layer))

    def down_here(self, a: np.ndarray) -> np.ndarray:
        """PEFT's A `[R, I]` as ours `[I, R]`."""
        return self._rearrange(a, f"r ({self.inner}) -> ({self.inner_here}) r")

    def down_there(self, a: np.ndarray) -> np.ndarray:
        """Our A `[I, R]` as PEFT's `[R, I]`."""
        return self._rearrange(a, f"({self.inner_here}) r -> r ({self.inner})")

    def up_here(self, b: np.ndarray) -> np.ndarray:
        """PEFT's B `[O of all parts, R]` as ours of this part, `[R, O]`."""
        part = "" if self.part is None else "part "
        found = self._rearrange(b, f"({self.outer}) r -> {part}r ({self.outer_here})")
        return found if self.part is None else found[self.part[0]]

    def up_there(self, parts: np.ndarray) -> np.ndarray:
        """Our B of all parts, `[parts, R, O]`, as PEFT's `[O of all parts, R]`."""
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
    """Every layer of a model that LoRA can change, at each module there that reads it.

    A table that several modules there read (T5's stacks have each their own embedding, tied) gives
    a site for each.
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
    # The table is `[V, D]` on both sides, but as a layer it maps states to scores.
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
    """Names of all modules there that hold weights."""
    names = [row.name for row in table.weights]
    return {name.rpartition(".")[0] for name in [*names, *table.aliases]}


def shortest(chosen: Mapping[str, int | None], every: Iterable[str]) -> list[str]:
    """Ends of names that fit the chosen modules and no others, as PEFT matches lists of names.

    Args:
      chosen: number of blocks of each chosen module; None for one outside the blocks.
      every: all modules, the chosen ones among them.

    Returns:
      One end for all blocks where there is such; else the full name in each block.
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
    """Pattern of a module's name in all blocks, as PEFT's patterns of ranks are read."""
    return r"\d+".join(re.escape(piece) for piece in module.split(LAYER))
