"""Several LoRA adapters over one base: sums of them, and one for each row."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from jaxrec.core import ConfigError
from jaxrec.peft import Lora, TuneConfig, combine, merge, route
from jaxrec.testing.tuned import BATCH, SPECS, shaken, tuned_case

pytestmark = pytest.mark.slow

# Other ranks, scales and layers.
FIRST = TuneConfig(method="lora", rank=2, alpha=3.0, targets=("query", "value", "mlp/up"))
SECOND = TuneConfig(method="lora", rank=3, alpha=1.0, targets=("query", "mlp/down"))
QUICK = {"xla_backend_optimization_level": 0}


def _adapters(case):
    found = [case.variables(config, 0.2)["tuned"] for config in (FIRST, SECOND)]
    return found[0], shaken(found[1], 0.1, seed=9)


@pytest.mark.parametrize("name", ["gpt2", "encoder-decoder"])
@pytest.mark.variants(1)
def test_a_weighted_sum_changes_kernels_by_the_weighted_sum_of_changes(name):
    case = tuned_case(name)
    one, two = _adapters(case)
    base = case.params["params"]
    change = [
        jax.tree.map(lambda new, old: np.subtract(new, old), merge(base, tuned, case.spec), base)
        for tuned in (one, two)
    ]
    both = combine({"one": one, "two": two}, {"one": 0.7, "two": -2.0})
    expected = jax.tree.map(lambda w, a, b: w + 0.7 * a - 2.0 * b, base, *change)
    found = merge(base, both, case.spec)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), found, expected)
    query = both["decoder"]["blocks"]["attention"]["query"]["update"]
    assert query.a.shape[-1] == query.b.shape[-2] == 5
    assert both["decoder"]["blocks"]["mlp"]["up"]["update"].a.shape[-1] == 2
    outputs = case.outputs({"params": base, "tuned": both})
    np.testing.assert_allclose(outputs, case.outputs({"params": expected}), atol=1e-5)


def test_a_weighted_sum_is_that_of_peft():
    """`add_weighted_adapter(combination_type="cat")`, on one matrix."""
    torch, peft = pytest.importorskip("torch"), pytest.importorskip("peft")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 5, bias=False))
    settings = {"target_modules": ["0"], "init_lora_weights": False}
    theirs = peft.get_peft_model(model, peft.LoraConfig(r=2, lora_alpha=3, **settings), "one")
    theirs.add_adapter("two", peft.LoraConfig(r=4, lora_alpha=2, **settings))
    theirs.add_weighted_adapter(["one", "two"], [0.7, 0.4], "both", combination_type="cat")
    theirs.set_adapter("both")
    layer = theirs.base_model.model[0]
    adapters = {}
    for name in ("one", "two"):
        a, b = (
            jnp.asarray(parts[name].weight.detach().numpy().T)
            for parts in (layer.lora_A, layer.lora_B)
        )
        adapters[name] = {"layer": {"update": Lora(a=a, b=b, scale=layer.scaling[name])}}
    kernel = jnp.asarray(model[0].base_layer.weight.detach().numpy().T)
    spec = tuned_case("gpt2").spec
    both = combine(adapters, {"one": 0.7, "two": 0.4})
    merged = merge({"layer": {"kernel": kernel}}, both, spec)["layer"]["kernel"]
    x = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    with torch.no_grad():
        expected = theirs(torch.tensor(x)).numpy()
    np.testing.assert_allclose(x @ np.asarray(merged), expected, atol=1e-5)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.variants(2)
def test_each_row_uses_its_own_adapter_or_the_base(name):
    case = tuned_case(name)
    tuned = _adapters(case)
    base = {"params": case.params["params"]}
    alone = [case.logits_of({**base, "tuned": each}) for each in tuned] + [case.logits_of(base)]
    for choice in ([0, 1, -1, 1], [1, 1, 0, 0]):
        routed = route(tuned, jnp.array(choice, jnp.int32))
        found = case.logits_of({**base, "tuned": routed})
        for row, number in enumerate(choice):
            np.testing.assert_allclose(found[row], alone[number][row], atol=1e-5)
    assert np.abs(alone[0] - alone[1]).max() > 0.05


def test_in_training_an_adapter_learns_from_its_own_rows():
    case = tuned_case("llama")
    tuned = _adapters(case)
    choice = jnp.array([1, 0, 1, 0], jnp.int32)

    def loss(tuned, rows):
        logits = case.logits({**case.params, "tuned": tuned})
        each = optax.softmax_cross_entropy_with_integer_labels(logits, case.tokens)
        return jnp.where(case.counted & rows[:, None], each, 0.0).sum()

    @functools.partial(jax.jit, compiler_options=QUICK)
    def gradients(tuned):
        every = jnp.ones(BATCH, bool)
        together = jax.grad(lambda t: loss(route(t, choice), every))(tuned)
        apart = [jax.grad(loss)(each, choice == number) for number, each in enumerate(tuned)]
        return together, tuple(apart)

    together, apart = gradients(tuned)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), together, apart)
    for leaf in jax.tree.leaves(together):
        assert np.abs(leaf).max() > 1e-3


def test_layers_of_one_block_have_gates_of_all_layers():
    case = tuned_case("llama")
    routed = route(_adapters(case), jnp.array([1, -1, 0, 0], jnp.int32))
    node = routed["decoder"]["blocks"]["attention"]["query"]["update"]
    gate = [[0, 0, 1, 1, 1], [0, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 0, 0, 0]]
    np.testing.assert_array_equal(node.gate, np.broadcast_to(gate, (5, 4, 5)))
    assert set(flatten_dict(routed["decoder"]["blocks"]["mlp"])) == {
        ("up", "update"),
        ("down", "update"),
    }


def test_what_cannot_be_summed_or_routed_is_refused():
    case = tuned_case("llama")
    one, two = _adapters(case)
    with pytest.raises(ConfigError, match="adapters a, b need one weight each, got weights for a"):
        combine({"a": one, "b": two}, {"a": 1.0})
    dropping = case.variables(dataclasses.replace(SECOND, dropout=0.1))["tuned"]
    with pytest.raises(ConfigError, match=r"query have different dropouts \[0.0, 0.1\]"):
        combine({"a": one, "b": dropping}, {"a": 1.0, "b": 1.0})
    choice = jnp.zeros(BATCH, jnp.int32)
    table = case.variables(dataclasses.replace(FIRST, targets=("embedding",)))["tuned"]
    with pytest.raises(ConfigError, match="cannot change embedding, whose table all rows share"):
        route([one, table], choice)
    prompt = case.variables(TuneConfig(method="prompt", prompt_init="random"))["tuned"]
    with pytest.raises(ConfigError, match="not embedding/prompt"):
        route([one, prompt], choice)
    routed = route([one, two], choice)
    with pytest.raises(ConfigError, match="routed by row"):
        merge(case.params["params"], routed, case.spec)
    with pytest.raises(ConfigError, match="routed for a batch of 2 rows, but this batch has 4"):
        case.logits({**case.params, "tuned": route([one, two], choice[:2])})
