"""Activations on a mesh of 2 x 4 fake devices, as JSON; run by the tests."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxrec.core.activations import constrain, gathered, merge_rows, sharded, split_rows
from jaxrec.core.collective_counts import collectives
from jaxrec.core.mesh import MeshConfig, ShardingRules, make_mesh
from jaxrec.nn import linear_cross_entropy

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
MESH = make_mesh(MeshConfig(2, 4))


def put(x, *spec):
    return jax.device_put(x, NamedSharding(MESH, PartitionSpec(*spec)))


def rows():
    """Numbers of tokens [4, 8] in the order of merged rows, and back."""
    x = put(np.arange(32, dtype=np.int32).reshape(4, 8), "data", "model")

    @jax.jit
    def there_and_back(x):
        with sharded(MESH, ShardingRules(preset="sequence")):
            merged = merge_rows(x)
            return merged, split_rows(merged, (4, 8))

    merged, back = there_and_back(x)
    text = there_and_back.lower(x).compile().as_text()
    return {
        "merged": merged.tolist(),
        "same": bool((back == x).all()),
        "moved": len(collectives(text)),
    }


def lookups():
    """Rows of a table whose vocabulary is split, and the table's gradient, less the dense ones."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(40, 6)).astype(np.float32)
    tokens = rng.integers(0, 40, (4, 8)).astype(np.int32)
    weight = rng.normal(size=(4, 8, 6)).astype(np.float32)
    gradient = np.zeros_like(table)
    np.add.at(gradient, tokens, weight)
    found = {}
    for axis in ("data", "model"):
        rules = ShardingRules(vocab=axis)

        kept = NamedSharding(MESH, PartitionSpec(axis))

        @partial(jax.jit, out_shardings=(None, kept))
        def both(table, tokens, rules=rules):
            def total(table):
                with sharded(MESH, rules):
                    x = constrain(jnp.take(table, tokens, axis=0), "batch", "sequence", "embed")
                return jnp.sum(x * weight), x

            gradient, x = jax.grad(total, has_aux=True)(table)
            return x, gradient

        x, d_table = both(put(table, axis), put(tokens, "data"))
        found[axis] = {
            "rows": float(np.abs(np.asarray(x) - table[tokens]).max()),
            "gradient": float(np.abs(np.asarray(d_table) - gradient).max()),
            "moved": [
                x.array
                for x in collectives(both.lower(put(table, axis), tokens).compile().as_text())
            ],
        }
    return found


def losses():
    """Cross-entropy and its gradients under rules, less those on one device."""
    rng = np.random.default_rng(1)
    # 2,400 rows a device, so that several chunks are needed and the last is not full.
    states = rng.normal(size=(4, 1200, 4)).astype(np.float32)
    table = rng.normal(size=(24, 4)).astype(np.float32)
    targets = rng.integers(0, 24, (4, 1200)).astype(np.int32)
    weights = rng.random((4, 1200)).astype(np.float32)

    def loss(states, table, names):
        table = gathered(table, ("vocab", "embed"))
        merge = partial(merge_rows, others=("vocab",))
        flat = merge_rows(states, ("embed",), ("vocab",)), table, merge(targets), merge(weights)
        return linear_cross_entropy(*flat, 3.0)

    expected = jax.jit(jax.value_and_grad(loss, (0, 1)), static_argnums=2)(states, table, None)
    found = {}
    for preset in ("replicated", "fsdp", "tensor", "sequence", "tensor_sequence"):

        def placed(states, table, names):
            with sharded(MESH, ShardingRules(preset=names)):
                states = constrain(states, "batch", "sequence", "embed")
                return jax.value_and_grad(loss, (0, 1))(states, table, names)

        step = jax.jit(placed, static_argnums=2)
        value = step(put(states, "data"), put(table), preset)
        text = step.lower(put(states, "data"), put(table), preset).compile().as_text()
        found[preset] = {
            "errors": [
                float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b)))
                for a, b in zip(jax.tree.leaves(value), jax.tree.leaves(expected), strict=True)
            ],
            "in loops": [x.array for x in collectives(text) if x.times > 1],
        }
    return found


print(json.dumps({"rows": rows(), "lookups": lookups(), "losses": losses()}))
