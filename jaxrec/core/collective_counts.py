"""The data that a compiled program moves between devices, read from the text of its HLO.

    for moved in collectives(jax.jit(f).lower(x).compile().as_text()): ...

The body of a loop counts as often as it runs. An all-reduce after which each device keeps only its
own part counts as a reduce-scatter: TPUs and GPUs run it as one, but the CPU's compiler does not
make that replacement.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator

from jaxrec.core.errors import DataError

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
# Operations that only rename, reorder or convert the elements of their operand.
_SAME = ("bitcast", "reshape", "transpose", "copy", "convert", "get-tuple-element")

_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([a-z][a-z0-9\-]*)\((.*)")
_ARRAY = re.compile(r"([a-z]+[0-9]*[a-z0-9]*)\[([0-9,]*)\]")
_CALLED = re.compile(r"(?:calls|to_apply|branch_computations|\w+_computation)=(\{[^}]*\}|[^,\s]+)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Collective:
    """One array that a program moves between devices.

    Attributes:
      kind: one of `KINDS`.
      array: type and shape of the whole array that is gathered, summed, or exchanged by one device.
      size: its size in bytes.
      devices: number of devices in a group.
      times: how often a device runs the operation.
      source: the operation of the program that needs it.
    """

    kind: str
    array: str
    size: int
    devices: int
    times: int
    source: str

    @property
    def sent(self) -> int:
        """Bytes that each device sends over all runs, in a ring (two rings for an all-reduce)."""
        if self.kind == "collective-permute":
            return self.size * self.times
        rounds = 2 if self.kind == "all-reduce" else 1
        return rounds * self.size * (self.devices - 1) // self.devices * self.times


def collectives(text: str) -> list[Collective]:
    """Return all collectives of a program for several devices, in the order of its text.

    Args:
      text: HLO text from `Compiled.as_text()` or from a compiler dump.

    Raises:
      DataError: the text is not HLO, or it does not say how often a loop with a collective runs.

    Example:
      >>> import jax
      >>> collectives(jax.jit(lambda x: x + 1).lower(1.0).compile().as_text())  # one device
      []
    """
    return list(_Program(text).run())


@dataclasses.dataclass(frozen=True)
class _Array:
    kind: str
    shape: str

    @property
    def elements(self) -> int:
        return math.prod(int(size) for size in self.shape.split(",") if size)

    @property
    def size(self) -> int:
        """Bytes."""
        bits = re.search(r"\d+", self.kind)
        return math.ceil(self.elements * (int(bits[0]) if bits else 8) / 8)

    def __str__(self) -> str:
        return f"{self.kind}[{self.shape}]"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Instruction:
    name: str
    result: str
    kind: str
    rest: str

    @property
    def operands(self) -> list[str]:
        """Names of the instructions that it reads, in order."""
        inside = self.rest.split(")", maxsplit=1)[0]
        return re.findall(r"%([\w.\-]+)", inside) or re.split(r", *", inside)

    @property
    def number(self) -> int:
        """Value of a constant, or position of a parameter."""
        return int(self.rest.split(")", maxsplit=1)[0])

    @property
    def arrays(self) -> list[_Array]:
        """`(bf16[8,4]{1,0}, f32[])` has two."""
        return [_Array(*found) for found in _ARRAY.findall(self.result)]

    @property
    def called(self) -> list[str]:
        """Names of the computations that it runs once."""
        found = _CALLED.findall(self.rest)
        return [name for part in found for name in re.findall(r"[\w.\-]+", part)]

    def attribute(self, name: str) -> str:
        found = re.search(rf"\b{name}=%?([\w.\-]+)", self.rest)
        return found[1] if found else ""


_Computation = dict[str, _Instruction]


class _Program:
    """The computations of a module."""

    def __init__(self, text: str) -> None:
        found = re.search(r"num_partitions=(\d+)", text)
        self.devices = int(found[1]) if found else 1
        self.entry = ""
        self.computations: dict[str, _Computation] = {}
        own: _Computation = {}
        for line in text.splitlines():
            if line.endswith("{") and line[:1] not in (" ", "}") and "->" in line:
                name = re.split(r"[ (]", line.removeprefix("ENTRY ").removeprefix("%"))[0]
                own = self.computations[name] = {}
                self.entry = name if line.startswith("ENTRY") else self.entry
            elif read := _INSTRUCTION.match(line):
                own[read[1]] = _Instruction(
                    **dict(zip(("name", "result", "kind", "rest"), read.groups(), strict=True))
                )
        if not self.entry:
            raise DataError("the text has no ENTRY computation, so it is not an HLO module")

    def run(self, name: str | None = None, times: int = 1) -> Iterator[Collective]:
        """Yield the collectives of one computation, by default of the whole program."""
        computation = self.computations.get(name or self.entry, {})
        for each in computation.values():
            kind = each.kind.removesuffix("-start")
            if kind in KINDS:
                yield from self._moved(computation, each, kind, times)
            elif each.kind == "while":
                inner = list(self.run(each.attribute("body")))
                if inner:
                    rounds = times * self._rounds(each)
                    yield from (dataclasses.replace(x, times=x.times * rounds) for x in inner)
            else:
                for called in each.called:
                    yield from self.run(called, times)

    def _rounds(self, loop: _Instruction) -> int:
        """How often a loop runs: the compiler's own note, or the bound of a counter from zero."""
        if noted := re.search(r'known_trip_count":\{"n":"(\d+)"', loop.rest):
            return int(noted[1])
        condition = self.computations.get(loop.attribute("condition"), {})
        for each in condition.values():
            if each.kind == "compare" and "direction=LT" in each.rest:
                bound = condition[each.operands[1]]
                if bound.kind == "constant":
                    return bound.number
        raise DataError(f"the text does not say how often the loop {loop.name} runs")

    def _moved(
        self, computation: _Computation, each: _Instruction, kind: str, times: int
    ) -> Iterator[Collective]:
        """Yield the arrays that one instruction moves."""
        devices, arrays, operands = self._group(each), each.arrays, each.operands
        if each.kind in ("all-gather-start", "collective-permute-start"):
            # (operands, results, tokens)
            arrays = arrays[len(operands) : 2 * len(operands)]
        if kind == "reduce-scatter":
            arrays = [array for name in operands for array in computation[name].arrays]
        source = re.search(r'op_name="([^"]*)"', each.rest)
        made = functools.partial(
            Collective, devices=devices, times=times, source=source[1] if source else ""
        )
        if kind == "all-to-all" and len(arrays) > 1:
            # One array, split into a part for each device.
            shown = f"{len(arrays)} x {arrays[0]}"
            yield made(kind=kind, array=shown, size=sum(array.size for array in arrays))
            return
        for i, array in enumerate(arrays):
            place = i if each.result.startswith("(") else None
            scattered = kind == "all-reduce" and self._scattered(
                computation, each.name, place, array.elements // devices
            )
            kind_now = "reduce-scatter" if scattered else kind
            yield made(kind=kind_now, array=str(array), size=array.size)

    def _group(self, each: _Instruction) -> int:
        """Number of devices in one group of `replica_groups`, whose text has three notations."""
        if found := re.search(r"replica_groups=\{\{([\d,]+)\}", each.rest):
            return found[1].count(",") + 1
        if found := re.search(r"replica_groups=\[\d+,(\d+)\]<=", each.rest):
            return int(found[1])
        if found := re.search(r"replica_groups=mesh\[([^\]]*)\] ?\{([^}]*)\}", each.rest):
            sizes = dict(re.findall(r"'([^']+)'=(\d+)", found[1]))
            # 'axis':(2)4 names a part of size 4 of an axis.
            used = re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", found[2])
            return math.prod(int(part or sizes[name]) for name, part in used)
        return self.devices

    def _scattered(
        self, computation: _Computation, name: str, place: int | None, part: int
    ) -> bool:
        """Whether every reader of an array takes only a part of it with `part` elements."""
        users = [each for each in computation.values() if name in each.operands]
        if place is not None:
            users = [each for each in users if each.attribute("index") == str(place)]
        return bool(users) and all(self._takes(computation, each, name, part) for each in users)

    def _takes(self, computation: _Computation, user: _Instruction, name: str, part: int) -> bool:
        if user.kind == "dynamic-slice":
            return user.operands[0] == name and user.arrays[0].elements == part
        if user.kind in _SAME:
            return self._scattered(computation, user.name, None, part)
        if user.kind == "fusion":
            inside = self.computations[user.called[0]]
            inputs = {x.number: x.name for x in inside.values() if x.kind == "parameter"}
            places = [i for i, operand in enumerate(user.operands) if operand == name]
            return all(self._scattered(inside, inputs[i], None, part) for i in places)
        return False
