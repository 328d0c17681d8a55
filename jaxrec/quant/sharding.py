"""Axis names for the arrays of stored kernels, so that they are sharded like plain kernels.

Boxed parameters give the shardings of the unboxed ones:

    shardings = param_shardings(box_params(params, spec.shapes()), mesh, rules)
    params = jax.device_put(params, shardings)
"""

import dataclasses
from typing import Any, TypeVar

from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.nn import StoredKernel, kernel_specs

Node = TypeVar("Node", bound=StoredKernel)


def box_params(params: Any, boxed: Any) -> Any:
    """Box a parameter tree, whose kernels may be quantized, with the axis names of the model.

    Args:
      params: the "params" tree, of arrays or shapes.
      boxed: variables or shapes of the model with their boxes on, as `ModelSpec.shapes` gives them.

    Returns:
      The "params" tree with an `nn.Partitioned` around every array.
    """
    boxes = flatten_dict(
        boxed["params"], sep="/", is_leaf=lambda _, leaf: isinstance(leaf, nn.Partitioned)
    )
    specs = kernel_specs(boxed)
    leaves = flatten_dict(params, sep="/")
    for path, leaf in leaves.items():
        if isinstance(leaf, StoredKernel):
            leaves[path] = leaf.boxed(specs[path.removesuffix("/kernel")].matrix_axes)
        else:
            leaves[path] = boxes[path].replace_boxed(leaf)
    return unflatten_dict(leaves, sep="/")


def box_arrays(node: Node, stack: tuple[str | None, ...], **axes: tuple[str | None, ...]) -> Node:
    """Box those of the named arrays that a node has; `stack` is put in front of their axes."""
    boxed: dict[str, Any] = {
        name: nn.Partitioned(getattr(node, name), (*stack, *own))
        for name, own in axes.items()
        if getattr(node, name) is not None
    }
    # Every kernel is a dataclass, but the abstract class cannot express that.
    return dataclasses.replace(node, **boxed)  # type: ignore[type-var]
