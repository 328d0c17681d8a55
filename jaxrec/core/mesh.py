"""The device mesh, and the mesh axis on which each logical axis lies.

Data, FSDP, tensor and sequence parallelism are values of `ShardingRules`, not code paths: `jax.jit`
gets the shardings and inserts the collectives. This file places parameters; `core.activations`
places activations by the same rules.
"""

import dataclasses
import math
from typing import Any, Literal

import jax
from flax import linen as nn
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxrec.core.errors import ConfigError
from jaxrec.core.ranges import Count, Whole, check_ranges
from jaxrec.core.suggestions import nearest
from jaxrec.core.units import show_bytes

Preset = Literal[
    "replicated", "fsdp", "tensor", "fsdp_tensor", "sequence", "fsdp_sequence", "tensor_sequence"
]
MeshAxes = str | tuple[str, ...] | None
# The value of a rule that follows the preset.
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
    """Number of devices along each mesh axis; `data` 0 takes all devices that `model` leaves.

    Raises:
      ConfigError: a number is too small.

    Example:
      >>> MeshConfig(data=2, model=4)  # 8 devices
      MeshConfig(data=2, model=4)
    """

    data: Whole = 0
    model: Count = 1

    def __post_init__(self) -> None:
        """Reject sizes that no mesh can have."""
        check_ranges(self, "--mesh.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardingRules:
    """The mesh axis or axes of each logical axis; None keeps an axis whole on every device.

    A preset sets all of them, and any one can be overridden by name:

      replicated: every device holds whole parameters; the batch is split over "data".
      fsdp: parameters, and so gradients and moments, are also split over "data", along their width.
        A layer's kernels are gathered when it runs, and their gradients are scattered.
      tensor: heads, the MLP's hidden layer and the vocabulary are split over "model"; activations
        are summed over it twice per layer (Shoeybi et al. 2019).
      fsdp_tensor: fsdp and tensor together.
      sequence: the tokens of a row are split over "model", for long histories; keys and values are
        gathered. Every device holds whole parameters.
      fsdp_sequence: sequence, with parameters split over all devices.
      tensor_sequence: tensor, with the stream between sub-layers split by tokens (Korthikanti et
        al. 2022).

    Attributes:
      preset: sets every axis that is not set by name.
      batch: rows of a batch.
      sequence: tokens of a row, in activations.
      layers: blocks of a stack.
      vocab: rows of token tables, and so of item IDs.
      position: rows of position tables.
      embed: width of the residual stream, in parameters; activations keep it whole.
      heads, kv_heads: heads of queries, and of keys and values.
      head_size: size of a head, in parameters.
      mlp: hidden layer of the MLP.
      classes: classes of a classifier.

    Raises:
      ConfigError: the preset is unknown.

    Example:
      >>> mesh = make_mesh(MeshConfig())
      >>> ShardingRules(preset="fsdp").mesh_axes("embed", mesh)
      ('data',)
      >>> ShardingRules(preset="fsdp", embed=None).mesh_axes("embed", mesh)
      ()
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
        """Return the mesh axes of one logical axis; an empty tuple if it is whole.

        Raises:
          ConfigError: the rule names an axis that the mesh does not have.
        """
        rule = getattr(self, name)
        if rule == OF_PRESET:
            rule = {"batch": "data", **PRESETS[self.preset]}.get(name)
        axes = () if rule is None else (rule,) if isinstance(rule, str) else rule
        for axis in axes:
            if axis not in mesh.axis_names:
                raise ConfigError(
                    f"sharding.{name} {rule!r} is not an axis of the mesh; use "
                    f"{', '.join(mesh.axis_names)} or None"
                )
        return axes


LOGICAL_AXES = tuple(f.name for f in dataclasses.fields(ShardingRules) if f.name != "preset")


def make_mesh(config: MeshConfig) -> Mesh:
    """Arrange all devices as `(data, model)`.

    Raises:
      ConfigError: the product of the two sizes is not the number of devices.

    Example:
      >>> make_mesh(MeshConfig()).axis_names
      ('data', 'model')
    """
    devices = jax.device_count()
    if not config.data and devices % config.model:
        raise ConfigError(f"mesh.model {config.model} does not divide the {devices} devices")
    data = config.data or devices // config.model
    if data * config.model != devices:
        raise ConfigError(
            f"mesh.data {config.data} x mesh.model {config.model} does not cover the {devices} "
            "devices; set mesh.data to 0 to use all devices"
        )
    return jax.make_mesh(
        (data, config.model), ("data", "model"), axis_types=(AxisType.Auto, AxisType.Auto)
    )


def ways(mesh: Mesh, axes: tuple[str, ...]) -> int:
    """Return the number of devices over which an axis on these mesh axes is split."""
    return math.prod(mesh.shape[axis] for axis in axes)


def spec_of(axes: list[tuple[str, ...]]) -> PartitionSpec:
    """Return the spec of an array from the mesh axes of each of its axes."""
    return PartitionSpec(*(part[0] if len(part) == 1 else part or None for part in axes))


def param_shardings(boxed: Any, mesh: Mesh, rules: ShardingRules) -> Any:
    """Return the shardings of a parameter tree with axis names, as `Module.init` returns it.

    Args:
      boxed: tree of `nn.Partitioned` arrays or shapes. Scalars do not need a box; on one device
        nothing does.
      mesh: the devices.
      rules: the mesh axes of each logical axis.

    Raises:
      ConfigError: the axes of a parameter have no names; no rule names a logical axis; the size of
        an axis is not a multiple of its number of devices; a rule names an axis that the mesh does
        not have; or two axes of one parameter lie on the same mesh axis. The message names the
        parameter.

    Example:
      >>> import jax.numpy as jnp
      >>> boxed = {"kernel": nn.Partitioned(jnp.zeros((4, 8)), ("embed", "mlp"))}
      >>> mesh = make_mesh(MeshConfig())
      >>> tuple(param_shardings(boxed, mesh, ShardingRules(preset="fsdp"))["kernel"].spec)
      ('data', None)
    """

    def place(path: Any, leaf: Any) -> NamedSharding:
        if not is_box(leaf):
            if leaf.ndim and mesh.size > 1:
                raise ConfigError(
                    f"no sharding rule matches {path_name(path)} {leaf.shape}, whose axes have no "
                    "names; wrap it in nn.Partitioned"
                )
            return replicated(mesh)
        return NamedSharding(mesh, _param_spec(path_name(path), leaf, mesh, rules))

    return jax.tree_util.tree_map_with_path(place, boxed, is_leaf=is_box)


def _param_spec(path: str, box: nn.Partitioned, mesh: Mesh, rules: ShardingRules) -> PartitionSpec:
    placed: list[tuple[str, ...]] = []
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
                f"sharding.{name} to None"
            )
        placed.append(axes)
    used = [axis for axes in placed for axis in axes]
    if len(set(used)) < len(used):
        raise ConfigError(
            f"sharding puts two axes of a parameter, {path} {box.names}, on one mesh axis: {used}; "
            "set one of them to another mesh axis, or to None"
        )
    return spec_of(placed)


def describe_shardings(boxed: Any, mesh: Mesh, rules: ShardingRules) -> str:
    """Return a table of all parameters: shape, logical axes, spec, and bytes on each device.

    Args:
      boxed: tree of `nn.Partitioned` arrays or shapes; see `param_shardings`.
      mesh: the devices.
      rules: the mesh axes of each logical axis.

    Returns:
      A header, one line per parameter, and a last line with the number of parameters, their bytes,
      and the bytes on each device.

    Raises:
      ConfigError: the parameters cannot be placed; see `param_shardings`.

    Example:
      >>> import jax.numpy as jnp
      >>> boxed = {"kernel": nn.Partitioned(jnp.zeros((4, 8)), ("embed", "mlp"))}
      >>> table = describe_shardings(boxed, make_mesh(MeshConfig()), ShardingRules(preset="fsdp"))
      >>> table.splitlines()[1]
      'kernel     4 x 8  embed, mlp  data, -  128 B'
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
    """Whether a leaf is an array together with its axis names."""
    return isinstance(leaf, nn.Partitioned)


def path_name(path: Any) -> str:
    """Return a tree path as "params/decoder/blocks/mlp/up/kernel", without a box's own key."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def batch_sharding(mesh: Mesh, rules: ShardingRules) -> NamedSharding:
    """Return the sharding of arrays whose first axis is the batch."""
    return NamedSharding(mesh, spec_of([rules.mesh_axes("batch", mesh)]))


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding of arrays that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())
