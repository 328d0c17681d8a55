"""LoRA against PEFT on random models of every family, both ways."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from safetensors.numpy import load_file, save_file

from jaxrec.core import ConfigError, DataError
from jaxrec.peft import LoraConfig, load_peft, lora, save_peft

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (
        "`is_gradient_checkpointing` is deprecated:FutureWarning",
        "Setting `save_embedding_layers` to `True`:UserWarning",
        "fan_in_fan_out is set to True but the target module:UserWarning",
        "Model has `tie_word_embeddings=True` and a tied layer:UserWarning",
    )
]

CASES = {
    "llama": {
        "target_modules": [
            *("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj", "gate_proj"),
            *("embed_tokens", "lm_head"),
        ],
        "r": 3,
        "lora_alpha": 5,
        # Blocks of one stack may differ in rank and in scale.
        "rank_pattern": {"o_proj": 2, "layers.1.self_attn.q_proj": 5},
        "alpha_pattern": {"v_proj": 9, "layers.2.mlp.up_proj": 1},
    },
    "llama3": {"target_modules": ["q_proj", "embed_tokens", "lm_head"], "use_rslora": True, "r": 3},
    "mistral": {"target_modules": ["q_proj", "up_proj"], "layers_to_transform": [1]},
    "qwen2": {"target_modules": r".*layers\.[02]\..*\.(k|down)_proj"},
    "qwen3": {"target_modules": ["k_proj"], "modules_to_save": ["q_norm", "lm_head"]},
    "gemma2": {"target_modules": ["embed_tokens", "v_proj"]},
    "gemma3": {"target_modules": "all-linear"},
    "gpt2": {
        "target_modules": ["c_attn", "c_proj", "c_fc", "wte", "lm_head"],
        "fan_in_fan_out": True,
    },
    "t5": {"target_modules": ["q", "k", "v", "o", "wi", "wo", "lm_head"]},
    "t5-1.1": {"target_modules": ["EncDecAttention.k", "wi_0", "wi_1"]},
    "bert-masked": {"target_modules": ["query", "dense", "word_embeddings"]},
    "roberta-masked": {"target_modules": ["value", "dense"]},
    "bert": {"target_modules": ["key", "pooler.dense"]},
    "llama-classifier": {"target_modules": ["q_proj"]},
    "gpt2-classifier": {"target_modules": ["c_attn"], "fan_in_fan_out": True},
    "bert-classifier": {"target_modules": ["query", "pooler.dense"]},
    "roberta-classifier": {"target_modules": ["query"]},
}
TASKS = {"classifier": "SEQ_CLS", "t5": "SEQ_2_SEQ_LM", "bert": None}


def task(name):
    return next((task for part, task in TASKS.items() if part in name), "CAUSAL_LM")


# What others cover too.
SLOW = ("gemma3", "t5-1.1", "bert", "roberta-masked", "gpt2-classifier")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in CASES]
)
@pytest.mark.variants(4)
def test_adapters_of_peft_load_here_and_ours_load_there(name, pair, randomized, shifted, tmp_path):
    both = pair(name)
    config = peft.LoraConfig(task_type=task(name), **CASES[name])
    theirs = randomized(peft.get_peft_model(both.base(), config))
    theirs.save_pretrained(tmp_path / "theirs")
    expected = both.expected(theirs)
    trained = load_peft(both.ours, tmp_path / "theirs")
    np.testing.assert_allclose(both.found(trained), expected, atol=1e-4)
    assert np.abs(expected - both.expected(both.base())).max() > 0.1

    ours = shifted(trained)
    save_peft(both.ours, ours, tmp_path / "ours")
    found = both.found(ours)
    assert np.abs(found - expected).max() > 0.1
    back = peft.PeftModel.from_pretrained(both.base(), tmp_path / "ours").eval()
    np.testing.assert_allclose(found, both.expected(back), atol=1e-4)


@pytest.fixture
def tuned(pair, shifted):
    """Return a function: name and settings of LoRA -> `Pair` and a random adapter of ours."""

    def make(name, **settings):
        both = pair(name)
        boxed = lora.init(jax.random.key(0), both.ours.spec.shapes(), LoraConfig(**settings))
        return both, {"tuned": shifted(nn.meta.unbox(boxed))}

    return make


def exported(both, trained, directory, **options):
    """Save, and return the settings, the tensors and PEFT's model of it."""
    save_peft(both.ours, trained, directory, **options)
    settings = json.loads((directory / "adapter_config.json").read_text())
    theirs = peft.PeftModel.from_pretrained(both.base(), directory).eval()
    return settings, load_file(directory / "adapter_model.safetensors"), theirs


def scaling_of(theirs):
    modules = dict(theirs.base_model.model.named_modules())
    return {name: modules[name].scaling["default"] for name in theirs.targeted_module_names}


def test_the_settings_say_rank_alpha_dropout_modules_and_task(tuned, tmp_path):
    both, trained = tuned("llama", rank=4, alpha=6.0, dropout=0.25, targets=("query", "mlp/up"))
    settings, tensors, theirs = exported(both, trained, tmp_path / "a", base="org/base")
    assert settings == {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "org/base",
        "inference_mode": True,
        "r": 4,
        "lora_alpha": 6,
        "lora_dropout": 0.25,
        "use_rslora": False,
        "target_modules": ["q_proj", "up_proj"],
        "modules_to_save": None,
        "rank_pattern": {},
        "alpha_pattern": {},
        "fan_in_fan_out": False,
        "bias": "none",
    }
    a = tensors["base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight"]
    b = tensors["base_model.model.model.layers.2.self_attn.q_proj.lora_B.weight"]
    node = trained["tuned"]["decoder"]["blocks"]["attention"]["query"]["update"]
    np.testing.assert_array_equal(a, node.a[2].T)
    np.testing.assert_array_equal(b, node.b[2].T)
    assert len(tensors) == 2 * 2 * 3
    assert set(scaling_of(theirs).values()) == {1.5}


def test_a_stabilized_rank_is_said_as_one(tuned, tmp_path):
    both, trained = tuned("llama", rank=4, alpha=6.0, rank_stabilized=True)
    settings, _, theirs = exported(both, trained, tmp_path / "a", rank_stabilized=True)
    assert (settings["use_rslora"], settings["r"], settings["lora_alpha"]) == (True, 4, 6)
    assert set(scaling_of(theirs).values()) == {3.0}
    back = load_peft(both.ours, tmp_path / "a")["tuned"]
    jax.tree.map(np.testing.assert_array_equal, back, trained["tuned"])


@pytest.mark.parametrize(
    ("name", "target", "listed", "count"),
    [
        # The end "output.dense" is that of the attention's output too.
        ("bert-masked", "mlp/down", "bert.encoder.layer.0.output.dense", 3),
        ("bert-masked", "mlp/up", "intermediate.dense", 3),
        ("gpt2", "mlp/down", "mlp.c_proj", 3),
        ("gpt2", "head", "lm_head", 1),
        ("t5", "cross/query", "EncDecAttention.q", 3),
        ("t5", "attention/out", "SelfAttention.o", 5),
        ("t5", "decoder/blocks/mlp/up", "2.DenseReluDense.wi", 3),
        ("t5", "encoder/blocks/attention/key", "encoder.block.1.layer.0.SelfAttention.k", 2),
        ("t5", "embedding", "embed_tokens", 2),
        ("llama-classifier", "attention/value", "v_proj", 3),
    ],
)
@pytest.mark.variants(4)
def test_the_modules_listed_fit_no_others(name, target, listed, count, tuned, tmp_path):
    both, trained = tuned(name, rank=2, targets=(target,))
    settings, tensors, theirs = exported(both, trained, tmp_path / "a")
    assert listed in settings["target_modules"]
    changed = {key.split(".lora_")[0] for key in tensors if ".lora_" in key}
    assert len(changed) == count
    assert {f"base_model.model.{name}" for name in theirs.targeted_module_names} == changed


def test_a_table_of_ours_that_two_stacks_read_is_changed_in_both(tuned, tmp_path):
    both, trained = tuned("t5", rank=2, targets=("embedding",))
    _, _, theirs = exported(both, trained, tmp_path / "a")
    found = both.found(trained)
    np.testing.assert_allclose(found, both.expected(theirs), atol=1e-4)
    assert np.abs(found - both.expected(both.base())).max() > 0.1


def test_updates_of_layers_that_share_a_module_become_blocks_of_one(tuned, tmp_path):
    both, trained = tuned("gpt2", rank=2, alpha=2.0, targets=("query", "value"))
    attention = trained["tuned"]["decoder"]["blocks"]["attention"]
    wide = {"a": jnp.tile(attention["value"]["update"].a, (1, 1, 2))}
    wide["b"] = jnp.tile(attention["value"]["update"].b, (1, 2, 1))
    attention["value"]["update"] = dataclasses.replace(
        attention["value"]["update"], **wide, scale=3.0
    )
    settings, _, theirs = exported(both, trained, tmp_path / "a")
    assert (settings["r"], settings["fan_in_fan_out"]) == (6, True)
    assert settings["target_modules"] == ["c_attn"]
    modules = dict(theirs.base_model.model.named_modules())
    change = modules["transformer.h.1.attn.c_attn"].get_delta_weight("default").detach().numpy()
    query, key, value = np.split(change, 3, axis=1)
    assert not key.any()
    for name, part in (("query", query), ("value", value)):
        node = attention[name]["update"]
        np.testing.assert_allclose(part, node.scale * node.a[1] @ node.b[1], atol=1e-6)


def test_a_fused_module_keeps_its_rank_on_the_way_through(pair, randomized, tmp_path):
    both = pair("gpt2")
    config = peft.LoraConfig(r=3, target_modules=["c_attn"], task_type="CAUSAL_LM")
    config.fan_in_fan_out = True
    theirs = randomized(peft.get_peft_model(both.base(), config))
    theirs.save_pretrained(tmp_path / "theirs")
    trained = load_peft(both.ours, tmp_path / "theirs")
    attention = trained["tuned"]["decoder"]["blocks"]["attention"]
    np.testing.assert_array_equal(attention["query"]["update"].a, attention["key"]["update"].a)
    settings, tensors, _ = exported(both, trained, tmp_path / "ours")
    assert (settings["r"], settings["lora_alpha"]) == (3, 8)
    expected = load_file(tmp_path / "theirs" / "adapter_model.safetensors")
    assert tensors.keys() == expected.keys()
    for key, tensor in expected.items():
        np.testing.assert_array_equal(tensors[key], tensor)


def test_blocks_without_an_adapter_get_none(pair, randomized, tmp_path):
    both = pair("mistral")
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], layers_to_transform=[1])
    randomized(peft.get_peft_model(both.base(), config)).save_pretrained(tmp_path)
    trained = load_peft(both.ours, tmp_path)["tuned"]
    node = trained["decoder"]["blocks"]["attention"]["query"]["update"]
    a, b = np.asarray(node.a), np.asarray(node.b)
    assert a[1].all() and b[1].all()
    assert not a[[0, 2]].any() and not b[[0, 2]].any()


def test_adapters_stored_in_bfloat16_are_read(tuned, tmp_path):
    both, trained = tuned("llama", rank=2)
    save_peft(both.ours, trained, tmp_path / "a")
    file = tmp_path / "a" / "adapter_model.safetensors"
    rounded = {k: v.astype(jnp.bfloat16) for k, v in load_file(file).items()}
    save_file(rounded, file)
    found = load_peft(both.ours, tmp_path / "a")
    expected = jax.tree.map(lambda x: x.astype(jnp.bfloat16).astype(jnp.float32), trained)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


# Modules trained in full, there and here. Two of a tied table are saved as two.
FULL = {
    "llama3": ({"embedding": {"table": (61, 32)}}, ["embed_tokens", "lm_head"]),
    "t5": ({"embedding": {"table": (61, 32)}}, ["embed_tokens", "lm_head", "shared"]),
    "gpt2": (
        {"decoder": {"blocks": {"attention": {"query": {"bias": (3, 4, 8)}}}}},
        ["c_attn"],
    ),
    "gemma2": ({"decoder": {"final_norm": {"scale": (32,)}}}, ["model.norm"]),
    "bert-masked": (
        {"backbone": {"embedding": {"norm": {"scale": (32,)}}}, "head": {"bias": (61,)}},
        ["embeddings.LayerNorm", "predictions"],
    ),
}


@pytest.mark.parametrize("name", FULL)
@pytest.mark.variants(2)
def test_parameters_trained_besides_are_modules_to_save(name, tuned, tmp_path):
    target = "mlp/up"
    both, trained = tuned(name, rank=2, targets=(target,))
    shapes, modules = FULL[name]
    rng = np.random.default_rng(3)
    is_shape = lambda x: isinstance(x, tuple)  # noqa: E731
    full = jax.tree.map(
        lambda shape: jnp.asarray(rng.normal(size=shape), jnp.float32), shapes, is_leaf=is_shape
    )
    trained = {**trained, "params": full}
    settings, _, theirs = exported(both, trained, tmp_path / "a")
    assert settings["modules_to_save"] == modules
    found = both.found(trained)
    np.testing.assert_allclose(found, both.expected(theirs), atol=1e-4)
    without = {"tuned": trained["tuned"]}
    assert np.abs(found - both.found(without)).max() > 0.1
    back = load_peft(both.ours, tmp_path / "a")
    np.testing.assert_allclose(both.found(back), found, atol=1e-6)


def write(directory, settings=None, tensors=None):
    """Change the settings or the tensors of a saved adapter."""
    file = directory / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **(settings or {})}))
    if tensors is not None:
        save_file(tensors, directory / "adapter_model.safetensors")


@pytest.mark.parametrize(
    "settings",
    [
        {"use_dora": True},
        {"bias": "lora_only"},
        {"lora_bias": True},
        {"layer_replication": [[0, 2], [1, 3]]},
        {"init_lora_weights": "pissa"},
        {"trainable_token_indices": [1]},
        {"megatron_config": {"x": 1}},
        {"a_setting_of_tomorrow": "on"},
        {"peft_type": "LOHA"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_settings_that_compute_something_else_are_refused_by_name(settings, tuned, tmp_path):
    both, trained = tuned("llama", rank=2)
    save_peft(both.ours, trained, tmp_path / "a")
    write(tmp_path / "a", settings)
    ((name, value),) = settings.items()
    with pytest.raises(ConfigError, match=f"{name} .*{value!r}".replace("[", r"\[")):
        load_peft(both.ours, tmp_path / "a")


def test_tensors_that_do_not_fit_are_named(tuned, tmp_path):
    both, trained = tuned("llama", rank=2)
    directory = tmp_path / "a"
    save_peft(both.ours, trained, directory)
    good = load_file(directory / "adapter_model.safetensors")
    query = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    b = good[f"{query}B.weight"]
    half = {k: v for k, v in good.items() if k != f"{query}A.weight"}
    unknown = {k.replace("q_proj", "qq_proj"): v for k, v in good.items()}
    for tensors, error, message in (
        (half, DataError, "lora_B of model.layers.0.self_attn.q_proj but no lora_A"),
        ({**good, f"{query}B.weight": b[:-1]}, DataError, r"\(47, 2\), expected .*\(48, 2\)"),
        (unknown, ConfigError, "qq_proj changes no layer .* did you mean .*q_proj"),
        (
            {**good, f"{query}magnitude_vector": b},
            ConfigError,
            "magnitude_vector belongs to a variant",
        ),
        ({**good, "base_model.model.x.weight": b}, DataError, "x.weight, which is not a tensor"),
        ({"base_model.model.score": b}, DataError, "score"),
    ):
        write(directory, tensors=tensors)
        with pytest.raises(error, match=message):
            load_peft(both.ours, directory)
    (directory / "adapter_model.safetensors").write_bytes(b"no")
    with pytest.raises(DataError, match="cannot be read"):
        load_peft(both.ours, directory)
    (directory / "adapter_model.safetensors").unlink()
    (directory / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(DataError, match="pickle"):
        load_peft(both.ours, directory)


def test_layers_that_are_one_here_must_be_changed_alike(pair, randomized, tmp_path):
    both = pair("t5")
    config = peft.LoraConfig(r=2, target_modules=["embed_tokens"])
    randomized(peft.get_peft_model(both.base(), config)).save_pretrained(tmp_path / "a")
    with pytest.raises(ConfigError, match=r"encoder.embed_tokens, decoder.embed_tokens are one"):
        load_peft(both.ours, tmp_path / "a")
    config = peft.LoraConfig(r=2, target_modules=["q"], modules_to_save=["lm_head"])
    randomized(peft.get_peft_model(both.base(), config)).save_pretrained(tmp_path / "b")
    with pytest.raises(ConfigError, match=r"different values for lm_head.weight and shared.weight"):
        load_peft(both.ours, tmp_path / "b")


def test_what_peft_cannot_say_is_refused(tuned, tmp_path):
    both, trained = tuned("llama-classifier", rank=2, targets=("query", "value"))
    attention = trained["tuned"]["backbone"]["decoder"]["blocks"]["attention"]
    node = attention["query"]["update"]
    out = {"update": lora.Lora(a=jnp.ones((32, 2)), b=jnp.ones((2, 3)))}
    embedding = {"embedding": {"prompt": jnp.ones((2, 32))}}
    bottleneck = {"decoder": {"blocks": {"mlp_adapter": jnp.ones((3, 2))}}}
    for tree, message in (
        ({"tuned": {"out": out}}, "in full or by LoRA, not both: score"),
        ({"tuned": {"out": out, "backbone": embedding}}, "one method; .*LORA, PROMPT_TUNING"),
        ({"tuned": {"backbone": bottleneck}}, "no method for .*mlp_adapter"),
        ({"tuned": {}}, "one method; this one has none"),
        ({"tuned": {"backbone": {"x": out}}}, "backbone/x has no counterpart"),
        ({**trained, "params": {"oot": {"kernel": 1.0}}}, "oot/kernel is not a parameter"),
    ):
        with pytest.raises(ConfigError, match=message):
            save_peft(both.ours, tree, tmp_path / "a")
    attention["query"]["update"] = dataclasses.replace(node, dropout=0.5)
    with pytest.raises(ConfigError, match=r"one dropout .* \[0.0, 0.5\]"):
        save_peft(both.ours, trained, tmp_path / "a")
    attention["query"]["update"] = dataclasses.replace(node, gate=jnp.ones((3, 2, 2)))
    with pytest.raises(ConfigError, match="routed by row"):
        save_peft(both.ours, trained, tmp_path / "a")
    assert not (tmp_path / "a").exists()
