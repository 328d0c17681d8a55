"""LoRA: the change of a kernel as a product of two thin matrices (Hu et al. 2021).

An adapter is a tree of `Lora` nodes at the paths of the layers that it changes, used as the `TUNED`
collection of a model. The base is not modified: leaving the collection out gives the model before
tuning, for example the reference model of PPO or the control of an experiment.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import ConfigError, nearest
from jaxrec.models import ModelSpec
from jaxrec.nn import KernelSpec, StoredKernel, hash_dropout, kernel_specs
from jaxrec.peft.names import key_of

# The name of all kernels in the stacks. Embeddings and heads have to be named explicitly.
ALL = "all"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """The settings of LoRA.

    Attributes:
      rank: r, columns of A.
      alpha: the change A B is multiplied by alpha / r.
      rank_stabilized: multiply by alpha / sqrt(r) instead (Kalajdzievski 2023).
      dropout: rate of dropout on the input of the LoRA branch, in training only.
      targets: which layers are changed: ends of their paths ("query", "mlp/up", "embedding",
        "head"), or "all" for every kernel of the transformer blocks.

    Raises:
      ConfigError: a value out of range, or no targets.

    Example:
      >>> LoraConfig(rank=4, alpha=16.0).scale
      4.0
      >>> LoraConfig(rank=4, alpha=16.0, rank_stabilized=True).scale
      8.0
    """

    rank: int = 8
    alpha: float = 16.0
    rank_stabilized: bool = False
    dropout: float = 0.0
    targets: tuple[str, ...] = ("query", "value")

    def __post_init__(self) -> None:
        """Reject values out of range."""
        if self.rank < 1:
            raise ConfigError(f"rank of LoRA must be at least 1, got {self.rank}")
        if self.alpha <= 0:
            raise ConfigError(f"alpha of LoRA must be positive, got {self.alpha}")
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"dropout of LoRA must lie in [0, 1), got {self.dropout}")
        if not self.targets:
            raise ConfigError("targets of LoRA are empty; name at least one layer, or 'all'")

    @property
    def scale(self) -> float:
        """The multiplier of A B."""
        return self.alpha / (self.rank**0.5 if self.rank_stabilized else self.rank)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Lora:
    """The update of one kernel, or of a stack of kernels: a `KernelUpdate`.

    Attributes:
      a: A, `[..., I, R]`.
      b: B, `[..., R, O]`.
      gate: `[..., B, R]`, the ranks that each row of the batch uses, see `route`; None if every row
        uses all.
      scale: multiplier of A B.
      dropout: rate of dropout on the input of the branch.

    Example:
      >>> update = Lora(a=jnp.ones((3, 1)), b=jnp.ones((1, 2)), scale=0.5)
      >>> update.branch(jnp.array([[1.0, 2.0, 3.0]]), None).tolist()
      [[3.0, 3.0]]
    """

    a: jax.Array
    b: jax.Array
    gate: jax.Array | None = None
    scale: float = dataclasses.field(default=1.0, metadata={"static": True})
    dropout: float = dataclasses.field(default=0.0, metadata={"static": True})

    def factors(self) -> tuple[jax.Array, jax.Array]:
        """Return `[I, R]` and `[R, O]` whose product is the change of the kernel.

        Raises:
          ConfigError: rows of the batch use different adapters, so there is no single change.
        """
        if self.gate is not None:
            raise ConfigError(
                "adapters routed by row change a kernel differently for each row; embeddings, "
                "heads and merging need a single adapter"
            )
        return self.a * jnp.asarray(self.scale, self.a.dtype), self.b

    def branch(self, x: jax.Array, seed: jax.Array | None) -> jax.Array:
        """Map `[B, ..., I]` to `[B, ..., O]`; `seed` is `[2]` uint32, or None for no dropout."""
        if seed is not None and self.dropout:
            x = hash_dropout(x, seed, self.dropout)
        thin = x.reshape(-1, x.shape[-1]) @ self.a.astype(x.dtype)
        thin = thin * jnp.asarray(self.scale, x.dtype)
        if self.gate is not None:
            rows = self.gate.shape[0]
            # A head over one state per row receives all states as one matrix.
            if x.shape[0] != rows and x.ndim > 2:
                raise ConfigError(
                    f"adapters are routed for a batch of {rows} rows, but this batch has "
                    f"{x.shape[0]}; give `route` one choice for each row"
                )
            thin = thin.reshape(rows, -1, thin.shape[-1]) * self.gate[:, None].astype(x.dtype)
            thin = thin.reshape(-1, thin.shape[-1])
        return (thin @ self.b.astype(x.dtype)).reshape(*x.shape[:-1], -1)


def targets(boxed: Any, config: LoraConfig) -> dict[str, KernelSpec]:
    """Select the layers that a config names, by path.

    Args:
      boxed: variables or shapes of the model with their boxes on, as `ModelSpec.shapes` gives them.
      config: its `targets` are the names.

    Raises:
      ConfigError: no layer's path ends in a name; the message suggests the nearest one.
    """
    known = tunable(boxed)
    chosen: dict[str, KernelSpec] = {}
    for target in config.targets:
        if target == ALL:
            found = [path for path in known if "/blocks/" in path or "memory" in path]
        else:
            found = [path for path in known if f"/{path}".endswith(f"/{target}")]
        if not found:
            names = sorted({path.split("/")[-1] for path in known})
            raise ConfigError(
                f"no layer {target!r} for LoRA{nearest(target, names)}; layers: "
                f"{', '.join(names)}, or {ALL!r}"
            )
        chosen |= {path: known[path] for path in found}
    return chosen


def tunable(boxed: Any) -> dict[str, KernelSpec]:
    """List every layer that LoRA can change: kernels, the embedding and the language head."""
    return {**kernel_specs(boxed), **_tables(boxed)}


def _tables(boxed: Any) -> dict[str, KernelSpec]:
    """List the embedding as `[V, D]` and the head as `[D, V]`, whether or not they are tied."""
    found = {}
    for path, leaf in flatten_dict(nn.meta.unbox(boxed)["params"], sep="/").items():
        layer, _, name = path.rpartition("/")
        if name == "table" and layer.endswith("embedding"):
            vocab, width = leaf.shape
            found[layer] = KernelSpec(shape=(vocab, width), axes=("vocab", "embed"), contracted=1)
            head = layer.removesuffix("embedding") + "head"
            # The head of a masked model or a classifier is not a plain product with the table.
            if not layer.startswith("backbone"):
                found[head] = KernelSpec(
                    shape=(width, vocab), axes=("embed", "vocab"), contracted=1
                )
    return found


def init(key: jax.Array, boxed: Any, config: LoraConfig) -> dict[str, Any]:
    """Create an adapter whose initial change is zero.

    A is uniform in +-1/sqrt(I) and B is zero, as in the published code. For an embedding, A is zero
    and B is standard normal.

    Args:
      key: random key; the values of a layer do not depend on which other layers are changed.
      boxed: variables or shapes of the model with their boxes on.
      config: which layers, rank and scale.

    Returns:
      The `TUNED` tree; its arrays are float32 and boxed with their axis names.

    Raises:
      ConfigError: a target matches no layer.
    """
    made = {}
    for path, spec in targets(boxed, config).items():
        own = key_of(key, path)
        stack, inner, outer = spec.matrix_axes[: len(spec.stack)], *spec.matrix_axes[-2:]
        shape_a, shape_b = (
            (*spec.stack, spec.inner, config.rank),
            (
                *spec.stack,
                config.rank,
                spec.outer,
            ),
        )
        if spec.axes[0] == "vocab":
            a, b = jnp.zeros(shape_a), jax.random.normal(own, shape_b)
        else:
            bound = spec.inner**-0.5
            a = jax.random.uniform(own, shape_a, minval=-bound, maxval=bound)
            b = jnp.zeros(shape_b)
        made[f"{path}/update"] = Lora(
            a=nn.Partitioned(a, (*stack, inner, None)),
            b=nn.Partitioned(b, (*stack, None, outer)),
            scale=config.scale,
            dropout=config.dropout,
        )
    return unflatten_dict(made, sep="/")


def updates(tuned: Any) -> dict[str, Lora]:
    """Return the `Lora` nodes of a `TUNED` tree by the path of their layer.

    Raises:
      ConfigError: the tree has nodes of other methods.
    """
    leaves = flatten_dict(tuned, sep="/", is_leaf=lambda _, leaf: isinstance(leaf, Lora))
    if others := sorted(path for path, leaf in leaves.items() if not isinstance(leaf, Lora)):
        raise ConfigError(f"only LoRA can be merged, combined or routed, not {', '.join(others)}")
    return {path.removesuffix("/update"): leaf for path, leaf in leaves.items()}


def merge(params: Any, tuned: Any, spec: ModelSpec, sign: float = 1.0) -> Any:
    """Add an adapter to the kernels, so that the model no longer needs a `TUNED` collection.

    Sums are computed in float32 and rounded once to the kernel's dtype. A quantized kernel becomes
    a plain float32 one, because the sum is no longer on its grid.

    Args:
      params: the "params" tree.
      tuned: the `TUNED` tree, of `Lora` nodes only.
      spec: the model; it determines whether the embedding and the head share a table.
      sign: -1 subtracts an adapter that was merged before.

    Returns:
      The "params" tree.

    Raises:
      ConfigError: the tree has nodes of other methods, or changes the embedding or the head while
        they share a table; unmerged, an update changes only one of the two.

    Example:
      >>> from jaxrec.testing import tiny_model
      >>> update = Lora(a=jnp.ones((2, 1)), b=jnp.array([[1.0, 3.0]]), scale=0.5)
      >>> params, tuned = {"up": {"kernel": jnp.zeros((2, 2))}}, {"up": {"update": update}}
      >>> merge(params, tuned, ModelSpec("causal", tiny_model()))["up"]["kernel"].tolist()
      [[0.5, 1.5], [0.5, 1.5]]
    """
    leaves = flatten_dict(params, sep="/", is_leaf=lambda _, leaf: isinstance(leaf, StoredKernel))
    for path, node in updates(tuned).items():
        is_table = f"{path}/kernel" not in leaves
        name = f"{path}/{'table' if is_table else 'kernel'}"
        if is_table and spec.shares_table:
            fix = "leave it out of targets" if spec.kind == "masked" else "untie the model first"
            raise ConfigError(
                f"LoRA of {path} cannot be merged, because the embedding and the head share one "
                f"table; keep the adapter separate, or {fix}"
            )
        kernel = leaves[name]
        a, b = node.factors()
        change = sign * (a.astype(jnp.float32) @ b.astype(jnp.float32))
        if is_table and path.endswith("head"):
            change = change.T
        if isinstance(kernel, StoredKernel):
            leaves[name] = (kernel.dense() + change).reshape(kernel.shape)
        else:
            summed = kernel.astype(jnp.float32) + change.reshape(kernel.shape)
            leaves[name] = summed.astype(kernel.dtype)
    return unflatten_dict(leaves, sep="/")


def unmerge(params: Any, tuned: Any, spec: ModelSpec) -> Any:
    """Subtract an adapter that `merge` added to the kernels; exact up to rounding."""
    return merge(params, tuned, spec, sign=-1.0)
