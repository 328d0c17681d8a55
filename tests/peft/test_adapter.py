"""Adapters against PyTorch and against biases: the formula, and where they stand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.models import Block, PerLayer, Reach, Shared
from jaxrec.nn import ScoreTerms, SelfContext, attention_mask
from jaxrec.peft import Adapter, TuneConfig, adapter as adapters
from jaxrec.testing.tuned import SPECS, tuned_case


def test_the_formula_is_that_of_pytorch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    shapes = {"down": (6, 4), "down_bias": (4,), "up": (4, 6), "up_bias": (6,)}
    parts = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    x = rng.normal(size=(2, 5, 6)).astype(np.float32)
    found = Adapter(**jax.tree.map(jnp.asarray, parts))(jnp.asarray(x))
    t = {name: torch.tensor(part) for name, part in parts.items()}
    hidden = torch.nn.functional.gelu(
        torch.tensor(x) @ t["down"] + t["down_bias"], approximate="tanh"
    )
    expected = torch.tensor(x) + hidden @ t["up"] + t["up_bias"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["gpt2", "encoder-decoder", "encoder"])
@pytest.mark.variants(1)
def test_they_stand_between_a_sub_layers_output_and_the_residual_sum(name):
    """An adapter that only adds a vector is a bias of the sub-layer's last product."""
    case = tuned_case(name, mlp_bias=True)
    params = case.variables(TuneConfig(method="adapter", bottleneck=2))
    nodes = flatten_dict(params["tuned"], is_leaf=lambda _, x: isinstance(x, Adapter))
    leaves = flatten_dict(params["params"])
    rng = np.random.default_rng(3)
    biased = dict(leaves)
    for path, node in nodes.items():
        vector = jnp.asarray(0.3 * rng.normal(size=node.up_bias.shape), jnp.float32)
        nodes[path] = dataclasses.replace(jax.tree.map(jnp.zeros_like, node), up_bias=vector)
        layer = path[-1].removesuffix("_adapter")
        last = (*path[:-1], layer, "down" if layer == "mlp" else "out", "bias")
        biased[last] = biased[last] + vector
    assert len(nodes) == {"gpt2": 2, "encoder-decoder": 5, "encoder": 2}[name]
    found = case.outputs({"params": params["params"], "tuned": unflatten_dict(nodes)})
    expected = case.outputs({"params": unflatten_dict(biased)})
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert np.abs(found - case.outputs(case.params)).max() > 0.1


def test_after_the_norm_where_a_sub_layer_ends_with_one():
    """Gemma normalizes a sub-layer's output: what follows is added to the stream as it is."""
    case = tuned_case("prefix", norm_order="both", positions="none")
    params = case.variables(TuneConfig(method="adapter", placement="pfeiffer"))
    own, tuned = (
        jax.tree.map(lambda x: x[0], params[part]["decoder"]["blocks"])
        for part in ("params", "tuned")
    )
    assert set(tuned) == {"mlp_adapter"}
    vector = jnp.linspace(-1.0, 1.0, 16)
    node = jax.tree.map(jnp.zeros_like, tuned["mlp_adapter"])
    node = dataclasses.replace(node, up_bias=vector)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(*case.tokens.shape, 16)), jnp.float32)
    shared = Shared(context=SelfContext(attention_mask(case.valid)), reach=Reach(ScoreTerms()))
    block = jax.jit(lambda v: Block(case.spec.config).apply(v, x, PerLayer(), shared, True)[0])
    base, changed = (
        block({"params": own, **more}) for more in ({}, {"tuned": {"mlp_adapter": node}})
    )
    difference = changed - base
    np.testing.assert_allclose(difference, np.broadcast_to(vector, x.shape), atol=1e-5)


def test_pfeiffer_has_one_a_block():
    boxed = tuned_case("encoder-decoder").spec.shapes()
    assert set(adapters.sub_layers(boxed, "pfeiffer")) == {
        "encoder/blocks/mlp_adapter",
        "decoder/blocks/mlp_adapter",
    }
    assert len(adapters.sub_layers(boxed)) == 5


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_parameters_are_those_of_the_paper(name):
    case = tuned_case(name)
    trainable, _ = case.tuning(TuneConfig(method="adapter", bottleneck=4))
    tuned, rest = (
        sum(x.size for x in jax.tree.leaves(trainable[part])) for part in ("tuned", "params")
    )
    d, m, depth = 16, 4, case.spec.config.depth
    # Section 2.1: 2 m d + d + m each, and two of them a block; then gains (and biases) of norms.
    assert tuned == depth * 2 * (2 * m * d + d + m)
    norm = (2 if name == "gpt2" else 1) * d
    head = 20 * d if name == "gpt2" else 0
    assert rest == depth * 2 * norm + norm + head


def test_they_start_small_with_biases_of_zero():
    case = tuned_case("gpt2", width=64)
    made = nn.meta.unbox(adapters.init(jax.random.key(0), case.spec.shapes(), bottleneck=64))
    for node in made["decoder"]["blocks"].values():
        for weight in (node.down, node.up):
            # Cut at two deviations, which leaves 0.88 of one.
            assert np.std(weight) == pytest.approx(0.88e-3, rel=0.03)
            assert 1.9e-3 < np.abs(weight).max() <= 2e-3
        assert not node.down_bias.any()
        assert not node.up_bias.any()
    attention, mlp = (made["decoder"]["blocks"][f"{n}_adapter"].down for n in ("attention", "mlp"))
    assert not np.array_equal(attention, mlp)


@pytest.mark.parametrize("name", SPECS)
def test_norms_and_the_head_are_trained_besides(name):
    case = tuned_case(name)
    paths = set(flatten_dict(case.params["params"], sep="/"))
    chosen = adapters.trained_besides(paths)
    kept = {path for path in paths if "norm" not in path and not path.startswith("head/")}
    assert chosen == paths - kept
    assert any(path.startswith("head/") for path in chosen) == (name in ("gpt2", "encoder"))
