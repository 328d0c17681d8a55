"""LoRA against sums of matrices, and merging against the branch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict

from jaxrec.core import ConfigError
from jaxrec.models import Pretrained, untie
from jaxrec.nn import kernel_specs
from jaxrec.peft import Lora, LoraConfig, TuneConfig, lora, merge, unmerge
from jaxrec.testing.tuned import SPECS, tuned_case

ALL = TuneConfig(method="lora", rank=3, alpha=4.0, targets=("all",))
TABLES = {"gpt2": ("embedding", "head"), "encoder": ()}


def _config(name):
    """Every layer whose update can be merged: tables too, where they are two."""
    return dataclasses.replace(ALL, targets=("all", *TABLES.get(name, ())))


def _merged(case, config, noise=0.1):
    params = case.variables(config, noise)
    return params, {"params": merge(params["params"], params["tuned"], case.spec)}


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.variants(2)
def test_the_merged_model_computes_what_the_branches_do(name):
    case = tuned_case(name)
    params, merged = _merged(case, _config(name), noise=0.05)
    assert jax.tree.structure(merged) == jax.tree.structure(case.params)
    found = case.outputs(merged)
    np.testing.assert_allclose(found, case.outputs(params), atol=1e-5)
    assert np.abs(found - case.outputs(case.params)).max() > 0.02


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_bfloat16_model_merges_in_float32(name):
    case = tuned_case(name, dtype="bfloat16")
    half = jax.tree_util.tree_map_with_path(
        lambda path, x: (
            x.astype(jnp.bfloat16) if path[-1].key in ("kernel", "table", "position") else x
        ),
        case.params,
    )
    case = dataclasses.replace(case, params=half)
    params, merged = _merged(case, _config(name), noise=0.05)
    assert jax.tree.map(lambda x: x.dtype, merged) == jax.tree.map(lambda x: x.dtype, half)
    # Three steps of bfloat16 at 1: products and their sums are rounded in another order.
    np.testing.assert_allclose(case.outputs(merged), case.outputs(params), atol=3 * 2.0**-7)
    # Half a rounding step of bfloat16 is lost; the sum of three is more than half a step.
    tuned = {"layer": {"update": Lora(a=jnp.full((4, 3), 2.0**-5), b=jnp.full((3, 4), 2.0**-4))}}
    kernel = {"layer": {"kernel": jnp.ones((4, 4), jnp.bfloat16)}}
    found = merge(kernel, tuned, case.spec)["layer"]["kernel"]
    np.testing.assert_array_equal(found.astype(jnp.float32), np.full((4, 4), 1.0 + 2.0**-7))


def test_unmerging_restores_the_kernels():
    case = tuned_case("gpt2")
    params, merged = _merged(case, _config("gpt2"), noise=0.3)
    back = unmerge(merged["params"], params["tuned"], case.spec)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), back, case.params["params"]
    )


@pytest.mark.parametrize("name", ["gpt2", "encoder-decoder"])
def test_the_change_of_a_kernel_is_the_scaled_product_and_of_low_rank(name):
    case = tuned_case(name)
    params, merged = _merged(case, _config(name))
    nodes = lora.updates(params["tuned"])
    specs = kernel_specs(case.spec.shapes())
    old, new = (flatten_dict(tree["params"], sep="/") for tree in (case.params, merged))
    changed = {path for path in old if not np.array_equal(old[path], new[path])}
    assert changed == {f"{path}/{'kernel' if path in specs else 'table'}" for path in nodes}
    for path, node in nodes.items():
        table = path not in specs
        leaf = f"{path}/{'table' if table else 'kernel'}"
        change = np.asarray(new[leaf], np.float64) - np.asarray(old[leaf], np.float64)
        a, b = (np.asarray(x, np.float64) for x in (node.a, node.b))
        expected = 4.0 / 3 * a @ b
        if path == "head":
            expected = expected.T
        elif not table:
            change = change.reshape(expected.shape)
        np.testing.assert_allclose(change, expected, atol=1e-6)
        singular = np.linalg.svd(change, compute_uv=False)
        assert (singular[..., 3:] < 1e-5).all()
        assert (singular[..., 2] > 1e-3).all()


def test_parameters_are_rank_times_rows_and_columns():
    case = tuned_case("llama")
    trainable, _ = case.tuning(_config("llama"))
    width, kv, mlp, depth = 16, 8, 32, 5
    per_layer = 2 * (width + width) + 2 * (width + kv) + 3 * (width + mlp)
    assert sum(x.size for x in jax.tree.leaves(trainable)) == 3 * depth * per_layer


@pytest.mark.parametrize("stabilized", [False, True])
def test_scales(stabilized):
    config = LoraConfig(rank=4, alpha=6.0, rank_stabilized=stabilized)
    assert config.scale == (3.0 if stabilized else 1.5)


def test_matrices_start_as_published_and_tables_the_other_way_round():
    case = tuned_case("gpt2", width=64, num_heads=2, vocab_size=500)
    config = LoraConfig(rank=8, targets=("query", "mlp/down", "embedding", "head"))
    nodes = lora.updates(nn.meta.unbox(lora.init(jax.random.key(0), case.spec.shapes(), config)))
    for path, inner in (("decoder/blocks/attention/query", 64), ("decoder/blocks/mlp/down", 32)):
        node = nodes[path]
        assert node.a.shape == (2, inner, 8)
        assert not node.b.any()
        # Uniform in +-1/sqrt(I): that bound, and its deviation.
        assert 0.95 < np.abs(node.a).max() * inner**0.5 <= 1.0
        assert np.std(node.a) == pytest.approx((inner * 3) ** -0.5, rel=0.05)
    assert not nodes["embedding"].a.any()
    assert np.std(nodes["embedding"].b) == pytest.approx(1.0, rel=0.1)
    assert nodes["embedding"].a.shape == (500, 8)
    assert nodes["head"].a.shape == (64, 8)
    assert not nodes["head"].b.any()


def test_dropout_acts_on_the_branch_alone_and_only_in_training():
    rng = np.random.default_rng(0)
    a, b, x = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((6, 2), (2, 5), (4, 3, 6)))
    node = Lora(a=a, b=b, scale=0.5, dropout=0.4)
    plain = 0.5 * np.asarray(x) @ np.asarray(a) @ np.asarray(b)
    np.testing.assert_allclose(node.branch(x, None), plain, atol=1e-5)
    seeds = jnp.arange(4000, dtype=jnp.uint32).reshape(2000, 2)
    drawn = jax.vmap(lambda seed: node.branch(x, seed))(seeds)
    assert (np.abs(np.asarray(drawn[0]) - plain) > 1e-3).any()
    np.testing.assert_allclose(np.mean(drawn, axis=0), plain, atol=0.15)

    case = tuned_case("prefix")
    config = dataclasses.replace(ALL, dropout=0.5)
    tokens, valid = case.tokens, case.valid

    @jax.jit
    def train(params, key):
        return case.model.apply(params, tokens, valid, False, rngs={"dropout": key})

    start, moved = case.variables(config), case.variables(config, 0.1)
    keys = jax.random.split(jax.random.key(0), 2)
    # The base has no dropout: as long as B is zero nothing is random.
    np.testing.assert_array_equal(train(start, keys[0]), train(start, keys[1]))
    assert not np.array_equal(train(moved, keys[0]), train(moved, keys[1]))


@pytest.mark.parametrize("target", ["embedding", "head"])
def test_a_table_that_serves_twice_is_not_merged_into_but_may_be_untied_first(target):
    case = tuned_case("llama")
    config = dataclasses.replace(ALL, targets=(target, "value"))
    params = case.variables(config, 0.1)
    with pytest.raises(ConfigError, match=f"LoRA of {target} cannot be merged, .*untie the model"):
        merge(params["params"], params["tuned"], case.spec)
    free = untie(Pretrained(spec=case.spec, params=case.params))
    assert not free.spec.shares_table
    apart = dataclasses.replace(case, spec=free.spec, params=free.params)
    np.testing.assert_array_equal(apart.outputs(apart.params), case.outputs(case.params))
    merged = {"params": merge(free.params["params"], params["tuned"], free.spec)}
    np.testing.assert_allclose(apart.outputs(merged), case.outputs(params), atol=1e-5)
    with pytest.raises(ConfigError, match="no language head that is tied"):
        untie(free)


def test_the_table_of_a_masked_model_is_left_alone():
    case = tuned_case("encoder")
    params = case.variables(dataclasses.replace(ALL, targets=("embedding",)), 0.1)
    with pytest.raises(ConfigError, match=r"backbone/embedding.*leave it out of targets"):
        merge(params["params"], params["tuned"], case.spec)
    with pytest.raises(ConfigError, match="masked model has no language head"):
        untie(Pretrained(spec=case.spec, params=case.params))


def test_an_update_of_the_embedding_adds_its_rows():
    case = tuned_case("llama")
    params = case.variables(dataclasses.replace(ALL, targets=("embedding",)), 0.3)
    node = params["tuned"]["embedding"]["update"]
    table = params["params"]["embedding"]["table"]
    changed = table + 4.0 / 3 * np.asarray(node.a) @ np.asarray(node.b)
    x = case.model.apply(params, case.tokens, case.tokens, method=lambda m, t, p: m.embedding(t, p))
    # The scale of the embedding is 2.
    np.testing.assert_allclose(x, 2 * changed[np.asarray(case.tokens)], atol=1e-5)


def test_other_nodes_are_not_merged():
    case = tuned_case("llama")
    params = case.variables(TuneConfig(method="adapter"))
    with pytest.raises(ConfigError, match=r"only LoRA can be merged.*attention_adapter"):
        merge(params["params"], params["tuned"], case.spec)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "rank of LoRA must be at least 1, got 0"),
        ({"alpha": 0.0}, "alpha of LoRA must be positive"),
        ({"dropout": 1.0}, "dropout of LoRA"),
        ({"targets": ()}, "targets of LoRA are empty"),
    ],
)
def test_settings_that_change_nothing_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        LoraConfig(**settings)


def test_a_target_that_no_layer_has_is_refused_with_the_nearest():
    boxed = tuned_case("llama").spec.shapes()
    with pytest.raises(ConfigError, match=r"no layer 'q_proj'.*layers: down, embedding"):
        lora.targets(boxed, LoraConfig(targets=("q_proj",)))
    with pytest.raises(ConfigError, match="did you mean 'query'"):
        lora.targets(boxed, LoraConfig(targets=("qery",)))
