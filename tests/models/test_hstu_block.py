"""HSTU's blocks in a causal model: equal to their equations, searched exactly, and refusals."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxrec.core import ConfigError
from jaxrec.decode import (
    Catalogue,
    Prompts,
    ReadOptions,
    SearchOptions,
    beam_search,
    read_histories,
    search_items,
)
from jaxrec.ids import IdVocabulary, ItemIndex, write_histories
from jaxrec.kernels import SharedHistory, beam_attention, beam_attention_choice
from jaxrec.models import CausalLM, ModelSpec, Pretrained, TransformerConfig, write_config
from jaxrec.nn import ScoreTerms, kernel_specs
from jaxrec.objectives import id_loss
from jaxrec.peft import TuneConfig, start
from jaxrec.quant import GptqConfig, UniformConfig, gptq_params, quantize_params
from jaxrec.testing import random_params, tiny_model
from jaxrec.testing.brute_force import level_logits, make_case, score_of

HSTU = {"block": "hstu", "mlp_width": None}


def equations(config, params, tokens):
    """Logits of one sequence by the paper's equations, number by number in float64: [n, V]."""
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), params["params"])
    silu = lambda y: y / (1 + np.exp(-y))  # noqa: E731

    def norm(y, leaf):
        y = y - y.mean(-1, keepdims=True) if config.norm == "layer" else y
        y = y / np.sqrt((y * y).mean(-1, keepdims=True) + config.norm_eps)
        return y * leaf["scale"] + leaf.get("bias", 0.0)

    n, (heads, size) = len(tokens), (config.num_heads, config.head_width)
    x = p["embedding"]["table"][tokens]
    if config.positions == "learned":
        x = x + p["embedding"]["position"][:n]
    for layer in range(config.depth):
        own = jax.tree.map(lambda a: a[layer], p["decoder"]["blocks"]["attention"])  # noqa: B023
        mixed = silu(norm(x, own["input_norm"]) @ own["mix"]["kernel"])
        u, v, q, k = np.split(mixed, 4, axis=-1)
        out = np.zeros((n, heads * size))
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            for i in range(n):
                for j in range(max(0, i + 1 - (config.window or n)), i + 1):
                    score = q[i, part] @ k[j, part] + own["position"][i - j]
                    out[i, part] += silu(score) / config.max_length * v[j, part]
        x = x + (norm(out, own["value_norm"]) * u) @ own["out"]["kernel"] + own["out"]["bias"]
    return norm(x, p["decoder"]["final_norm"]) @ p["embedding"]["table"].T


@pytest.mark.parametrize(
    "changes",
    [{"norm": "layer", "positions": "learned"}, {"window": 3, "head_size": 5}],
    ids=["layer norms, learned positions", "window"],
)
@pytest.mark.variants(1)
def test_padded_wider_and_packed_rows_equal_the_equations(changes):
    # A long sequence exceeds no distance; N is more than any row has.
    config = dataclasses.replace(tiny_model(depth=2), **HSTU, **changes, max_length=11)
    model = CausalLM(config)
    params = random_params(model)
    rng = np.random.default_rng(0)
    texts = [rng.integers(1, 18, length) for length in (3, 5, 1)]

    def padded(width):
        return np.stack([np.pad(text, (width - len(text), 0)) for text in texts])

    row = np.concatenate(texts)[None]
    segments = np.repeat(np.arange(3), [len(text) for text in texts])[None]

    @jax.jit
    def run(params, narrow, wide, row, segments):
        apart = [model.apply(params, rows, rows > 0) for rows in (narrow, wide)]
        return *apart, model.apply(params, row, row > 0, segments=segments)

    narrow, wide, packed = run(params, padded(5), padded(8), row, segments)
    first = 0
    for number, text in enumerate(texts):
        expected = equations(config, params, text)
        assert np.abs(expected).max() > 0.1
        for found in (narrow[number], wide[number], packed[0, : first + len(text)]):
            np.testing.assert_allclose(found[-len(text) :], expected, atol=2e-5)
        first += len(text)


# In the second catalogue each beam has one way left, so several tokens are read at once.
@pytest.mark.parametrize(("sizes", "share"), [((4, 3), 0.7), ((5, 4, 3, 2), 0.06)], ids=str)
@pytest.mark.variants(1)
def test_a_search_scores_each_item_as_a_forward_pass_of_its_own(sizes, share):
    case = make_case(1, sizes, share, depth=2, **HSTU)
    given = (case.model, case.params)
    options = SearchOptions(beams=case.items)
    found = beam_search(*given, case.catalogue, case.prompts, options)
    logits, everything = level_logits(case), np.ones(case.items, bool)
    for user in range(len(case.tokens)):
        expected = np.array(
            [score_of(case, logits, user, everything, item, "codes") for item in range(case.items)]
        )
        np.testing.assert_allclose(found.scores[user], np.sort(expected)[::-1], atol=1e-5)
        np.testing.assert_allclose(found.scores[user], expected[found.items[user]], atol=1e-5)


@pytest.mark.slow
def test_users_packed_into_a_row_and_rounded_caches_search_as_alone():
    case = make_case(4, (5, 4, 3), 0.7, users=6, depth=2, **HSTU)
    given, options = (case.model, case.params), SearchOptions(beams=7)
    alone = beam_search(*given, case.catalogue, case.prompts, options)
    rows, segments = [], []
    for three in np.asarray(case.tokens).reshape(2, 3, -1):
        own = [row[row != 0] for row in three]
        rows.append(np.concatenate(own))
        segments.append(np.repeat(np.arange(3), [len(row) for row in own]))
    length = max(map(len, rows))
    prompts = Prompts(
        tokens=jnp.asarray([np.pad(row, (0, length - len(row))) for row in rows], jnp.int32),
        segments=jnp.asarray(
            [np.pad(s, (0, length - len(s)), constant_values=9) for s in segments], jnp.int32
        ),
    )
    packed = read_histories(*given, prompts, ReadOptions(users=3))
    found = search_items(*given, case.catalogue, packed, options)
    np.testing.assert_array_equal(found.items.reshape(6, 7), alone.items)
    np.testing.assert_allclose(found.scores.reshape(6, 7), alone.scores, atol=1e-5)
    rounded = read_histories(*given, case.prompts, ReadOptions(cache_dtype="int8"))
    found = search_items(*given, case.catalogue, rounded, options)
    difference = np.abs(found.scores - alone.scores).max()
    assert 0 < difference < 0.05


def test_a_model_learns_a_planted_rule_and_lists_what_follows():
    sizes, levels = (3, 3), 2
    codes = np.stack(np.unravel_index(np.arange(9), sizes), axis=1).astype(np.int32)
    words = IdVocabulary(sizes=sizes)
    config = TransformerConfig(
        vocab_size=words.size, width=16, depth=1, block="hstu", max_length=1 + 6 * levels
    )
    model = CausalLM(config)
    rng = np.random.default_rng(0)
    # The next item is the last one and four, modulo nine.
    histories = (rng.integers(0, 9, (96, 1)) + 4 * np.arange(6)) % 9
    tokens = jnp.asarray(write_histories(list(histories), words.tokens(codes), 6))
    optimizer = optax.adam(3e-2)

    def loss(params, key):
        found = id_loss(model, params, tokens, key, vocabulary=words)
        return found.total / found.weight

    @jax.jit
    def fit(params):
        def step(carry, key):
            params, state = carry
            value, gradient = jax.value_and_grad(loss)(params, key)
            with jax.numpy_dtype_promotion("standard"):
                updates, state = optimizer.update(gradient, state)
            return (optax.apply_updates(params, updates), state), value

        keys = jax.random.split(jax.random.key(0), 60)
        (params, _), values = jax.lax.scan(step, (params, optimizer.init(params)), keys)
        return params, values

    params, values = fit(random_params(model, scale=0.2))
    # Only the first of six items is a matter of chance.
    assert values[0] > 1.0 and values[-1] < np.log(9) / 6 + 0.05
    prompts = Prompts(
        tokens=jnp.asarray(write_histories(list(histories[:9, :3]), words.tokens(codes), 6))
    )
    index = ItemIndex.build(codes, sizes)
    found = beam_search(model, params, Catalogue(index, words), prompts, SearchOptions(beams=3))
    assert found.items[:, 0].tolist() == histories[:9, 3].tolist()


REFUSED = [
    ("positions", "rope"),
    ("positions", "relative"),
    ("num_kv_heads", 1),
    ("mlp_width", 8),
    ("norm_order", "post"),
    ("rope_theta", 5.0),
    ("relative_buckets", 8),
    ("qkv_bias", True),
    ("out_bias", True),
    ("mlp_bias", True),
    ("qk_norm", True),
    ("query_scale", 1.0),
    ("score_cap", 2.0),
    ("attention_dropout", 0.1),
    ("mlp_dropout", 0.1),
]


@pytest.mark.parametrize(("name", "value"), REFUSED, ids=str)
def test_settings_without_a_meaning_are_refused_by_name_value_and_fix(name, value):
    said = rf"^model\.{name} {value} has no meaning with model\.block hstu, .*(set it to|leave it)"
    with pytest.raises(ConfigError, match=said):
        TransformerConfig(block="hstu", **{name: value})


def test_what_has_a_meaning_passes():
    config = TransformerConfig(
        block="hstu", positions="learned", norm="layer", head_size=5, window=4, gated=False
    )
    assert config.is_bounded and config.position_kind == "learned"
    assert TransformerConfig().position_kind == "rope" and not TransformerConfig().is_bounded
    with pytest.raises(ConfigError, match=r"9 tokens, but the model's distances end at .* 8; cut"):
        TransformerConfig(block="hstu", max_length=8).check_length(9, "a text", "cut it")


def test_models_that_read_in_both_directions_are_refused():
    config = dataclasses.replace(tiny_model(), **HSTU)
    for kind in ("encoder", "encoder_decoder"):
        with pytest.raises(ConfigError, match=r"model\.block hstu .* set model\.block transformer"):
            ModelSpec(kind, config).shapes()
    model, tokens = CausalLM(config), jnp.ones((1, 3), jnp.int32)
    run = functools.partial(model.apply, prefix=tokens > 0)
    with pytest.raises(ConfigError, match=r"model\.block hstu .* causal decoder"):
        jax.eval_shape(run, random_params(model), tokens, tokens > 0)


def test_kernels_and_formats_that_need_a_softmax_are_refused_by_name():
    config = dataclasses.replace(tiny_model(), **HSTU)
    with pytest.raises(ConfigError, match=r"no family for model\.block hstu.* jaxrec serve"):
        write_config(ModelSpec("causal", config))
    terms, past = ScoreTerms(pointwise=7), jnp.zeros((1, 1, 3, 4))
    own = jnp.zeros((1, 2, 1, 1, 4))
    history = SharedHistory(key=past, value=past, valid=jnp.ones((1, 3), bool))
    for name in ("triton", "mosaic"):
        with pytest.raises(ConfigError, match=rf"'{name}': .*silu instead of a softmax \(HSTU\)"):
            beam_attention(own[:, :, 0], history, (own, own), terms, implementation=name)
    choice = beam_attention_choice(own[:, :, 0], terms, "cuda")
    assert choice.implementation == "xla" and "HSTU" in choice.reason


def tuning(**settings):
    spec = ModelSpec("causal", dataclasses.replace(tiny_model(), **HSTU))
    params = random_params(spec.build())
    config = TuneConfig(base="somewhere", **settings)
    return spec, params, start(jax.random.key(0), spec.shapes(), params, config)


def test_tuning_that_does_not_fit_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"tune\.method prefix .* use tune\.method prompt"):
        tuning(method="prefix")
    with pytest.raises(
        ConfigError, match=r"tune\.placement pfeiffer .* use tune\.placement houlsby"
    ):
        tuning(method="adapter", placement="pfeiffer")
    with pytest.raises(ConfigError, match=r"no layer 'query' .* mix, out"):
        tuning(method="lora")


def test_adapters_and_low_rank_updates_change_what_the_model_computes():
    tokens = jnp.asarray([[1, 4, 9]], jnp.int32)
    for settings in ({"method": "adapter"}, {"method": "lora", "targets": ("mix", "out")}):
        spec, params, made = tuning(**settings)
        tree = nn.meta.unbox(made.trainable["tuned"])
        variables = params | {"tuned": jax.tree.map(lambda leaf: leaf + 0.3, tree)}
        run = jax.jit(lambda v, spec=spec: spec.build().apply(v, tokens, tokens > 0))
        assert np.abs(run(variables) - run(params)).max() > 1e-3


@pytest.mark.slow
def test_quantized_kernels_compute_nearly_the_same():
    spec = ModelSpec("causal", dataclasses.replace(tiny_model(depth=2), **HSTU))
    params = random_params(spec.build(), scale=0.3)
    tokens = jnp.asarray(np.random.default_rng(0).integers(1, 18, (8, 6)), jnp.int32)
    batch = {"tokens": tokens, "valid": tokens > 0}
    run = jax.jit(lambda variables: spec.build().apply(variables, **batch))
    exact, config = run(params), UniformConfig(bits=8)
    rounded = quantize_params(params["params"], kernel_specs(spec.shapes()), config)
    by_layer, errors = gptq_params(spec, params, [batch], GptqConfig(weights=config))
    assert {path.split("attention/")[1] for path in errors} == {"mix", "out"}
    for tree in (rounded, by_layer):
        difference = run({"params": tree}) - exact
        assert 0 < float(jnp.std(difference)) < 0.05 * float(jnp.std(exact))


def test_the_model_is_read_back_by_its_description(tmp_path):
    from jaxrec.models import load_model, save_model

    spec = ModelSpec("causal", dataclasses.replace(tiny_model(), **HSTU))
    save_model(Pretrained(spec=spec, params=random_params(spec.build())), tmp_path / "model")
    assert load_model(tmp_path / "model").spec == spec
