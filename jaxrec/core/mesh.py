"""The device mesh, and which mesh axis each logical axis lies on.

Data parallel, FSDP, tensor and sequence parallel are values of `ShardingRules`, not code paths:
`jax.jit` gets the shardings and inserts the collectives. Parameters are placed here; activations
follow the same rules in `core.activations`.
"""

import dataclasses
import math
from typing import Any, Literal

import jax
from flax import linen as nn
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxrec.core.errors import ConfigError, nearest
from jaxrec.core.units import show_bytes

Preset = Literal[
    "replicated", "fsdp", "tensor", "fsdp_tensor", "sequence", "fsdp_sequence", "tensor_sequence"
]
MeshAxes = str | tuple[str, ...] | None
# A rule that says what the preset says.
OF_PRESET = "preset"

_TENSOR = {"heads": "model", "kv_heads": "model", "mlp": "model", "vocab": "model"}
PRESETS: dict[Preset, dict[str, MeshAxes]] = {
    "replicated": {},
    "fsdp": {"embed": "data"},
    "tensor": {**_TENSOR},
    "fsdp_tensor": {**_TENSOR, "embed": "data"},
    "sequence": {"sequence": "model"},
    "fsdp_sequence": {"sequence": "model", "embed": ("data", "model")},
    "tensor_sequence": {**_TENSOR, "sequence": "model"},
}


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Devices along each mesh axis; `data` 0 takes all that `model` leaves."""

    data: int = 0
    model: int = 1

    def __post_init__(self) -> None:
        """Reject sizes that no mesh has."""
        if self.data < 0 or self.model < 1:
            raise ConfigError(
                f"mesh.data must be 0 or more and mesh.model 1 or more, got {self.data} and "
                f"{self.model}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardingRules:
    """Mesh axis, or axes, of each logical axis; None keeps it whole on every device.

    A preset says all of them, and every one can be overruled by name:

      replicated: parameters whole on every device, the batch split over "data".
      fsdp: parameters, and so gradients and moments, split over "data" too, along their width. A
        layer's kernels are gathered when it runs, and their gradients are scattered.
      tensor: heads, the MLP's hidden layer and the vocabulary split over "model"; activations are
        summed over it twice a layer (Shoeybi et al. 2019).
      fsdp_tensor: both.
      sequence: the tokens of a row split over "model", for long histories; keys and values are
        gathered. Parameters whole.
      fsdp_sequence: likewise, with parameters split over all devices.
      tensor_sequence: as tensor, and the stream between sub-layers split by tokens (Korthikanti et
        al. 2022).

    Attributes:
      preset: what is not said otherwise.
      batch: rows of a batch.
      sequence: tokens of a row, in activations.
      layers: of a stack of blocks.
      vocab: rows of the tables of tokens, and so of item IDs.
      position: rows of a table of positions.
      embed: width of the residual stream, in parameters; activations keep it whole.
      heads, kv_heads: of queries, and of keys and values.
      head_size: in parameters.
      mlp: hidden layer of the MLP.
      classes: of a classifier.
    """

    preset: Preset = "replicated"
    batch: MeshAxes = OF_PRESET
    sequence: MeshAxes = OF_PRESET
    layers: MeshAxes = OF_PRESET
    vocab: MeshAxes = OF_PRESET
    position: MeshAxes = OF_PRESET
    embed: MeshAxes = OF_PRESET
    heads: MeshAxes = OF_PRESET
    kv_heads: MeshAxes = OF_PRESET
    head_size: MeshAxes = OF_PRESET
    mlp: MeshAxes = OF_PRESET
    classes: MeshAxes = OF_PRESET

    def __post_init__(self) -> None:
        """Reject an unknown preset."""
        if self.preset not in PRESETS:
            raise ConfigError(
                f"no sharding.preset {self.preset!r}{nearest(self.preset, PRESETS)}; presets: "
                f"{', '.join(PRESETS)}"
            )

    def mesh_axes(self, name: str, mesh: Mesh) -> tuple[str, ...]:
        """Mesh axes of one logical axis; none where it is whole.

        Raises:
          ConfigError: the rule names an axis that the mesh lacks.
        """
        rule = getattr(self, name)
        if rule == OF_PRESET:
            rule = {"batch": "data", **PRESETS[self.preset]}.get(name)
        axes = () if rule is None else (rule,) if isinstance(rule, str) else rule
        for axis in axes:
            if axis not in mesh.axis_names:
                raise ConfigError(
                    f"sharding.{name} {rule!r} is no axis of the mesh; use "
                    f"{', '.join(mesh.axis_names)} or None"
                )
        return axes


LOGICAL_AXES = tuple(f.name for f in dataclasses.fields(ShardingRules) if f.name != "preset")


def make_mesh(config: MeshConfig) -> Mesh:
    """Arrange all devices as `(data, model)`.

    Raises:
      ConfigError: the axes do not multiply to the number of devices.
    """
    devices = jax.device_count()
    if not config.data and devices % config.model:
        raise ConfigError(f"mesh.model {config.model} does not divide the {devices} devices")
    data = config.data or devices // config.model
    if data * config.model != devices:
        raise ConfigError(
            f"mesh.data {config.data} x mesh.model {config.model} does not cover the {devices} "
            "devices; set mesh.data 0 to take what is left"
        )
    return jax.make_mesh(
        (data, config.model), ("data", "model"), axis_types=(AxisType.Auto, AxisType.Auto)
    )


def ways(mesh: Mesh, axes: tuple[str, ...]) -> int:
    """Devices over which an axis on these mesh axes is split."""
    return math.prod(mesh.shape[axis] for axis in axes)


def spec_of(axes: list[tuple[str, ...]]) -> PartitionSpec:
    """The spec of an array, from the mesh axes of each of its axes."""
    return PartitionSpec(*(part[0] if len(part) == 1 else part or None for part in axes))


def param_shardings(boxed: Any, mesh: Mesh, rules: ShardingRules) -> Any:
    """Shardings of a parameter tree as `Module.init` returns it, with its axis names.

    Args:
      boxed: tree of `nn.Partitioned` arrays or shapes. Scalars need no box, nor does anything on
        one device.
      mesh: where to put them.
      rules: the mapping.

    Raises:
      ConfigError: naming the parameter: axes without names, a logical axis that no rule names, an
        axis whose size its devices do not divide, a rule for an axis that the mesh lacks, or two
        axes of one parameter on the same mesh axis.
    """

    def place(path: Any, leaf: Any) -> NamedSharding:
        if not is_box(leaf):
            if leaf.ndim and mesh.size > 1:
                raise ConfigError(
                    f"no sharding rule matches {path_name(path)} {leaf.shape}, whose axes have no "
                    "names: give it an nn.Partitioned"
                )
            return replicated(mesh)
        return NamedSharding(mesh, _param_spec(path_name(path), leaf, mesh, rules))

    return jax.tree_util.tree_map_with_path(place, boxed, is_leaf=is_box)


def _param_spec(path: str, box: nn.Partitioned, mesh: Mesh, rules: ShardingRules) -> PartitionSpec:
    found: list[tuple[str, ...]] = []
    for name, size in zip(box.names, box.value.shape, strict=True):
        if name is not None and name not in LOGICAL_AXES:
            raise ConfigError(
                f"no sharding rule for the logical axis {name!r} of {path} {box.names}"
                f"{nearest(name, LOGICAL_AXES)}"
            )
        axes = () if name is None else rules.mesh_axes(name, mesh)
        if size % ways(mesh, axes):
            raise ConfigError(
                f"axis {name!r} of {path} has size {size}, which the {ways(mesh, axes)} devices of "
                f"mesh axis {'+'.join(axes)!r} do not divide; change mesh.{axes[0]}, or set "
                f"sharding.{name} None"
            )
        found.append(axes)
    used = [axis for axes in found for axis in axes]
    if len(set(used)) < len(used):
        raise ConfigError(
            f"sharding puts two axes of a parameter, {path} {box.names}, on one mesh axis: {used}; "
            "give one of them another, or None"
        )
    return spec_of(found)


def describe_shardings(boxed: Any, mesh: Mesh, rules: ShardingRules) -> str:
    """A table of all parameters: shape, logical axes, spec, and bytes on each device.

    Args:
      boxed: as of `param_shardings`.
      mesh: where they lie.
      rules: the mapping.

    Returns:
      A line each, and a last one with their number, their bytes and those on each device.

    Raises:
      ConfigError: as of `param_shardings`.
    """
    rows = [("parameter", "shape", "axes", "spec", "on each device")]
    whole, each, count = 0, 0, 0
    places = jax.tree.leaves(param_shardings(boxed, mesh, rules))
    leaves = jax.tree_util.tree_leaves_with_path(boxed, is_leaf=is_box)
    for (path, leaf), place in zip(leaves, places, strict=True):
        array, names = (leaf.value, leaf.names) if is_box(leaf) else (leaf, ())
        size, own = array.dtype.itemsize, math.prod(place.shard_shape(array.shape))
        count += math.prod(array.shape)
        whole, each = whole + math.prod(array.shape) * size, each + own * size
        rows.append(
            (
                path_name(path),
                " x ".join(map(str, array.shape)) or "scalar",
                ", ".join(name or "-" for name in names) or "-",
                ", ".join(_shown(part) for part in place.spec) or "-",
                show_bytes(own * size),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    shape = " x ".join(f"{name} {size}" for name, size in mesh.shape.items())
    lines.append(
        f"{count:,} parameters: {show_bytes(whole)}, {show_bytes(each)} on each of {mesh.size} "
        f"devices ({shape})"
    )
    return "\n".join(lines)


def _shown(part: str | tuple[str, ...] | None) -> str:
    return "-" if part is None else part if isinstance(part, str) else "+".join(part)


def is_box(leaf: Any) -> bool:
    """Whether a leaf is an array with its axis names."""
    return isinstance(leaf, nn.Partitioned)


def path_name(path: Any) -> str:
    """A path of a tree as "params/decoder/blocks/mlp/up/kernel"; a box's own key is no part."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def batch_sharding(mesh: Mesh, rules: ShardingRules) -> NamedSharding:
    """Sharding of arrays whose first axis is the batch."""
    return NamedSharding(mesh, spec_of([rules.mesh_axes("batch", mesh)]))


def replicated(mesh: Mesh) -> NamedSharding:
    """Sharding of arrays that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())
