"""What each method trains, on every kind of model, and that nothing else changes."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from jaxrec.peft import Adapter, Lora, PrefixNetwork, variables
from jaxrec.testing.tuned import METHODS, SPECS, tuned_case

NODES = (Lora, Adapter, PrefixNetwork)
# A program runs once: compiling faster is worth more than running faster.
QUICK = {"xla_backend_optimization_level": 0}

# Each model and each method once in every run, the rest in long ones.
FIRST = {
    ("gpt2", "adapter"),
    ("llama", "lora"),
    ("prefix", "prompt"),
    ("encoder-decoder", "prefix"),
    ("encoder", "prompt"),
}
EVERY = [
    pytest.param(*pair, marks=() if pair in FIRST else pytest.mark.slow)
    for pair in itertools.product(SPECS, METHODS)
]


def _paths(tree):
    """Paths of leaves, nodes of tuning counted as one."""
    leaves = flatten_dict(tree, sep="/", is_leaf=lambda _, x: isinstance(x, NODES))
    return set(leaves)


def _expected(case, method):
    """Paths that a method trains: every kernel of the blocks has an update, and so on."""
    stacks = {
        "encoder-decoder": ("encoder/blocks", "decoder/blocks"),
        "encoder": ("backbone/encoder/blocks",),
    }.get(case.name, ("decoder/blocks",))
    mlp = ("up", "down", "gate") if case.spec.config.gated else ("up", "down")
    if method == "lora":
        kernels = [f"attention/{k}" for k in ("query", "key", "value", "out")]
        found = {f"{s}/{k}" for s in stacks for k in (*kernels, *(f"mlp/{m}" for m in mlp))}
        if len(stacks) == 2:
            found |= {f"decoder/blocks/cross/{k}" for k in ("query", "out")}
            found |= {f"decoder/memory_projection/cross/{k}" for k in ("key", "value")}
        return {f"tuned/{path}/update" for path in found}
    if method == "adapter":
        found = {f"tuned/{s}/{layer}_adapter" for s in stacks for layer in ("attention", "mlp")}
        if len(stacks) == 2:
            found.add("tuned/decoder/blocks/cross_adapter")
        every = _paths({"params": case.params["params"]})
        norms = {path for path in every if "norm/" in path}
        assert len(norms) >= 3
        return found | norms | {path for path in every if path.startswith("params/head/")}
    if method == "prefix":
        return {f"tuned/{stacks[-1]}/attention/prefix"}
    backbone = "backbone/" if case.name == "encoder" else ""
    return {f"tuned/{backbone}embedding/prompt"}


@pytest.mark.parametrize(("name", "method"), EVERY)
@pytest.mark.variants(2)
def test_the_small_tree_alone_is_differentiated_and_optimized(name, method):
    case = tuned_case(name)
    trainable, frozen = case.tuning(METHODS[method])
    assert _paths(trainable) == _expected(case, method)
    before = jax.tree.map(np.array, frozen)
    optimizer = optax.adam(1e-2)
    answers = case.targets if case.spec.kind == "encoder_decoder" else case.tokens

    def loss(trainable):
        logits = case.logits(variables(trainable, frozen))
        each = optax.softmax_cross_entropy_with_integer_labels(logits, answers)
        return jnp.where(case.counted, each, 0.0).sum()

    @functools.partial(jax.jit, compiler_options=QUICK)
    def train(trainable):
        def body(carry, _):
            trainable, state = carry
            value, gradient = jax.value_and_grad(loss)(trainable)
            with jax.numpy_dtype_promotion("standard"):
                updates, state = optimizer.update(gradient, state, trainable)
                return (optax.apply_updates(trainable, updates), state), (value, gradient)

        start = trainable, optimizer.init(trainable)
        (trainable, _), (losses, gradients) = jax.lax.scan(body, start, None, length=10)
        return trainable, losses, gradients

    after, losses, gradients = train(trainable)
    assert losses[-1] < losses[0]
    jax.tree.map(np.testing.assert_array_equal, before, frozen)
    for (path, old), new in zip(
        jax.tree_util.tree_leaves_with_path(trainable), jax.tree.leaves(after), strict=True
    ):
        assert not np.array_equal(old, new), jax.tree_util.keystr(path)
    assert jax.tree.structure(gradients) == jax.tree.structure(trainable)
