"""The device mesh, and which mesh axis each logical axis of a parameter lies on.

Data parallel, FSDP and tensor parallel are values of `ShardingRules`, not code paths: `jax.jit`
gets the shardings and inserts the collectives.
"""

import dataclasses
from typing import Any

import jax
from flax import linen as nn
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxrec.core.errors import ConfigError


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


@dataclasses.dataclass(frozen=True)
class ShardingRules:
    """Mesh axis of each logical axis; None keeps it whole on every device.

    The defaults replicate parameters and split the batch: the models at hand are far smaller than a
    device. Naming `embed="data"` gives FSDP, `heads` and `mlp` on "model" tensor parallelism.
    """

    batch: str | None = "data"
    layers: str | None = None
    vocab: str | None = None
    position: str | None = None
    embed: str | None = None
    heads: str | None = None
    kv_heads: str | None = None
    head_size: str | None = None
    mlp: str | None = None
    classes: str | None = None


def make_mesh(config: MeshConfig) -> Mesh:
    """Arrange all devices as `(data, model)`.

    Raises:
      ConfigError: the axes do not multiply to the number of devices.
    """
    devices = jax.device_count()
    data = config.data or devices // max(config.model, 1)
    if data * config.model != devices:
        raise ConfigError(
            f"mesh.data {config.data} x mesh.model {config.model} does not cover the {devices} "
            "devices; set mesh.data 0 to take what is left"
        )
    return jax.make_mesh(
        (data, config.model), ("data", "model"), axis_types=(AxisType.Auto, AxisType.Auto)
    )


def param_shardings(boxed: Any, mesh: Mesh, rules: ShardingRules) -> Any:
    """Shardings of a parameter tree as `Module.init` returns it, with its axis names.

    Args:
      boxed: tree of `nn.Partitioned` arrays or shapes.
      mesh: where to put them.
      rules: the mapping.

    Raises:
      ConfigError: a logical axis that no rule names, a rule for an axis that the mesh lacks, or
        two axes of one parameter on the same mesh axis.
    """
    known = {field.name for field in dataclasses.fields(rules)}

    def place(spec: PartitionSpec) -> NamedSharding:
        for axis in spec:
            if axis is not None and axis not in known:
                raise ConfigError(f"no sharding rule for the logical axis {axis!r} of {spec}")
        axes = [_mesh_axis(mesh, rules, axis) for axis in spec]
        used = [axis for axis in axes if axis is not None]
        if len(set(used)) < len(used):
            raise ConfigError(
                f"sharding puts two axes of a parameter {spec} on one mesh axis: {used}; "
                "give one of them another, or None"
            )
        return NamedSharding(mesh, PartitionSpec(*axes))

    specs = nn.get_partition_spec(boxed)
    return jax.tree.map(place, specs, is_leaf=lambda x: isinstance(x, PartitionSpec))


def batch_sharding(mesh: Mesh, rules: ShardingRules) -> NamedSharding:
    """Sharding of arrays whose first axis is the batch."""
    return NamedSharding(mesh, PartitionSpec(_mesh_axis(mesh, rules, "batch")))


def replicated(mesh: Mesh) -> NamedSharding:
    """Sharding of arrays that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def _mesh_axis(mesh: Mesh, rules: ShardingRules, axis: str | None) -> str | None:
    rule = None if axis is None else getattr(rules, axis)
    if rule is not None and rule not in mesh.axis_names:
        raise ConfigError(
            f"sharding.{axis} {rule!r} is no axis of the mesh; use {', '.join(mesh.axis_names)} "
            "or None"
        )
    return rule
