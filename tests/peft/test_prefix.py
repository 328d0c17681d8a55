"""Prefixes against real activations, against silence, and against PEFT's network."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import ConfigError
from jaxrec.nn import SelfContext, attention_mask, positions_of
from jaxrec.peft import PrefixNetwork, TuneConfig, prefix, variables, virtual_of, without_networks
from jaxrec.testing.tuned import SPECS, tuned_case

pytestmark = pytest.mark.slow

P = 3
TABLE = TuneConfig(method="prefix", virtual_tokens=P, prefix_hidden=0)


def _node(case, stack=None):
    path = next(path for path in prefix.attentions(case.spec.shapes()) if stack in (None, path))
    return tuple(path.split("/"))


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_keys_and_values_of_real_tokens_stand_for_these_tokens(name):
    """A prefix of what the model itself reads of a text continues that text."""
    case = tuned_case(name)
    text = jnp.array([[4, 9, 2]], jnp.int32)
    positions, mask = jnp.arange(P, dtype=jnp.int32)[None], attention_mask(text > 0)
    _, (key, value) = case.model.apply(
        case.params, text, positions, SelfContext(mask), method="hidden"
    )
    tuned = unflatten_dict({_node(case): (key[:, 0], value[:, 0])})
    found = case.logits_of({**case.params, "tuned": tuned})
    whole = case.after(text[0].tolist()).logits_of(case.params)[:, P:]
    np.testing.assert_allclose(found[case.counted], whole[case.counted], atol=2e-5)


def test_an_encoder_of_one_block_reads_a_prefix_as_it_reads_tokens():
    """The keys and values of a first block depend on each token alone."""
    case = tuned_case("encoder", depth=1)
    text = jnp.array([[4, 9, 2]], jnp.int32)
    encoder = dataclasses.replace(case.spec, kind="encoder")
    context = SelfContext(attention_mask(text > 0, causal=False))

    def read(model, tokens):
        positions = positions_of(tokens > 0)
        x = model.embedding(tokens, positions)
        return model.encoder(x, positions, context)[1]

    base = {"params": case.params["params"]["backbone"]}
    key, value = encoder.build().apply(base, text, method=read)
    tuned = unflatten_dict({_node(case): (key[:, 0], value[:, 0])})
    found = case.logits_of({**case.params, "tuned": tuned})
    whole = case.after(text[0].tolist()).logits_of(case.params)[:, P:]
    np.testing.assert_allclose(found[case.counted], whole[case.counted], atol=2e-5)


def _silent(case, stack):
    """A prefix with scores of minus a billion, under a query whose one component is always one.

    That component turns so slowly, where positions are rotary, that it stays near one.
    """
    leaves = flatten_dict(case.params["params"], sep="/")
    layer = "/".join(stack[:-1])
    slow = case.spec.config.head_width // 2 - 1
    kernel, bias = leaves[f"{layer}/query/kernel"], leaves[f"{layer}/query/bias"]
    for place, value in ((slow, 1.0), (-1, 0.0)):
        kernel = kernel.at[..., place].set(0.0)
        bias = bias.at[..., place].set(value)
    leaves |= {f"{layer}/query/kernel": kernel, f"{layer}/query/bias": bias}
    shape = leaves[f"{layer}/key/bias"].shape
    shape = (shape[0], P, *shape[1:])
    key = jnp.zeros(shape).at[..., slow].set(-1e9)
    tuned = unflatten_dict({stack: (key, jnp.zeros(shape))})
    return {"params": unflatten_dict(leaves, sep="/"), "tuned": tuned}


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.variants(2)
def test_a_prefix_that_nobody_looks_at_leaves_the_base(name):
    case = tuned_case(name, rope_theta=1e7)
    params = _silent(case, _node(case))
    base = {"params": dict(params["params"])}
    if case.spec.config.positions == "learned":
        # Virtual tokens count: real ones read the position table P rows further on.
        inner = base["params"].get("backbone", base["params"])
        table = jnp.roll(inner["embedding"]["position"], -P, axis=0)
        embedding = {**inner["embedding"], "position": table}
        inner = {**inner, "embedding": embedding}
        base = {"params": {**base["params"], "backbone": inner} if name == "encoder" else inner}
    expected = case.outputs(base)
    np.testing.assert_allclose(case.outputs(params), expected, atol=2e-5)
    heard = jax.tree.map(jnp.zeros_like, params["tuned"])
    assert np.abs(case.outputs({**params, "tuned": heard}) - expected).max() > 1e-2


def test_a_prefix_of_the_encoder_that_nobody_looks_at_leaves_the_base():
    case = tuned_case("encoder-decoder")
    params = _silent(case, ("encoder", "blocks", "attention", "prefix"))
    assert (virtual_of(params).read, virtual_of(params).written) == (P, 0)
    base = case.outputs({"params": params["params"]})
    np.testing.assert_allclose(case.outputs(params), base, atol=2e-5)


@pytest.mark.parametrize("name", ["llama", "encoder-decoder"])
@pytest.mark.variants(1)
def test_the_exported_table_is_what_the_network_makes(name):
    case = tuned_case(name)
    config = TuneConfig(method="prefix", virtual_tokens=P, prefix_hidden=7)
    trainable, frozen = case.tuning(config, 0.1)
    network = flatten_dict(trainable["tuned"])[_node(case)]
    assert isinstance(network, PrefixNetwork)
    table = without_networks(trainable["tuned"])
    key, value = flatten_dict(table)[_node(case)]
    c = case.spec.config
    shape = (c.depth, P, c.kv_heads, c.head_width)
    assert key.shape == value.shape == shape
    through = jax.jit(lambda trainable: case.logits(variables(trainable, frozen)))(trainable)
    exported = case.logits_of({**frozen, "tuned": table})
    np.testing.assert_allclose(through, exported, atol=1e-6)

    # By hand, block by block.
    parts = {f.name: np.asarray(getattr(network, f.name), np.float64) for f in _arrays()}
    hidden = np.tanh(parts["embedding"] @ parts["hidden"] + parts["hidden_bias"])
    rows = hidden @ parts["out"] + parts["out_bias"]
    size = c.kv_heads * c.head_width
    for layer in range(c.depth):
        for which, found in enumerate((key, value)):
            columns = slice((2 * layer + which) * size, (2 * layer + which + 1) * size)
            expected = rows[:, columns].reshape(P, c.kv_heads, c.head_width)
            np.testing.assert_allclose(found[layer], expected, atol=1e-6)


def _arrays():
    return [f for f in dataclasses.fields(PrefixNetwork) if f.name != "shape"]


def test_the_network_is_that_of_peft():
    torch, peft = pytest.importorskip("torch"), pytest.importorskip("peft")
    case = tuned_case("prefix")
    trainable, _ = case.tuning(TuneConfig(method="prefix", virtual_tokens=P, prefix_hidden=7), 0.1)
    network = flatten_dict(trainable["tuned"])[_node(case)]
    settings = peft.PrefixTuningConfig(
        num_virtual_tokens=P, token_dim=16, encoder_hidden_size=7, num_layers=2,
        num_attention_heads=2, prefix_projection=True,
    )  # fmt: skip
    theirs = peft.PrefixEncoder(settings)
    with torch.no_grad():
        theirs.embedding.weight.copy_(torch.tensor(np.array(network.embedding)))
        for layer, name in ((theirs.transform[0], "hidden"), (theirs.transform[2], "out")):
            layer.weight.copy_(torch.tensor(np.array(getattr(network, name)).T))
            layer.bias.copy_(torch.tensor(np.array(getattr(network, f"{name}_bias"))))
        rows = theirs(torch.arange(P)[None])
    # As PeftModel.get_prompt deals the row out: two entries a layer, heads, size.
    dealt = rows.view(1, P, 4, 2, 8).permute(2, 0, 3, 1, 4).split(2)
    key, value = network.table()
    for layer, pair in enumerate(dealt):
        np.testing.assert_allclose(key[layer], pair[0][0].transpose(0, 1), atol=1e-6)
        np.testing.assert_allclose(value[layer], pair[1][0].transpose(0, 1), atol=1e-6)


def test_parameters_of_the_table_and_of_the_network():
    case = tuned_case("llama")
    d, kv, depth, e = 16, 8, 5, 7
    table, _ = case.tuning(TABLE)
    assert sum(x.size for x in jax.tree.leaves(table)) == P * depth * 2 * kv
    network, _ = case.tuning(dataclasses.replace(TABLE, prefix_hidden=e))
    expected = P * d + d * e + e + e * depth * 2 * kv + depth * 2 * kv
    assert sum(x.size for x in jax.tree.leaves(network)) == expected


def test_it_starts_as_in_peft():
    case = tuned_case("gpt2", width=64)
    boxed = case.spec.shapes()
    made = nn.meta.unbox(prefix.init(jax.random.key(0), boxed, 50, hidden=64))
    network = flatten_dict(made)[_node(case)]
    assert np.std(network.embedding) == pytest.approx(1.0, rel=0.05)
    for part in (network.hidden, network.hidden_bias, network.out, network.out_bias):
        # torch.nn.Linear of 64 inputs: uniform in +-1/8.
        assert 0.11 < np.abs(part).max() <= 0.125
    key, value = flatten_dict(nn.meta.unbox(prefix.init(jax.random.key(0), boxed, 50, 0)))[
        _node(case)
    ]
    assert np.std(key) == pytest.approx(1.0, rel=0.05)
    assert not np.array_equal(key, value)


def test_which_stacks_have_one():
    both = tuned_case("encoder-decoder").spec.shapes()
    assert set(prefix.attentions(both)) == {"decoder/blocks/attention/prefix"}
    assert len(prefix.attentions(both, encoder=True)) == 2
    alone = tuned_case("encoder").spec.shapes()
    assert set(prefix.attentions(alone)) == {"backbone/encoder/blocks/attention/prefix"}
    with pytest.raises(ConfigError, match=r"prefix_encoder is for models.*only backbone/encoder"):
        prefix.attentions(alone, encoder=True)


def test_bfloat16_models_read_float32_tables():
    exact, rounded = tuned_case("llama"), tuned_case("llama", dtype="bfloat16")
    expected = exact.outputs(exact.variables(TABLE))
    error = np.linalg.norm(rounded.outputs(rounded.variables(TABLE)) - expected)
    assert 0 < error < 0.05 * np.linalg.norm(expected)
    # The table matters: without it the outputs are much further away than rounding moves them.
    assert np.linalg.norm(exact.outputs(exact.params) - expected) > 4 * error
