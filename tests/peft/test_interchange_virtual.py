"""Prefixes and prompts against PEFT on random models of every family, both ways."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jaxrec.core import ConfigError, DataError
from jaxrec.peft import load_peft, save_peft

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")

pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)

P = 3
TASKS = {"t5": "SEQ_2_SEQ_LM", "classifier": "SEQ_CLS", "bert": "FEATURE_EXTRACTION"}


def task(name):
    return next((task for part, task in TASKS.items() if part in name), "CAUSAL_LM")


def config_of(method, name, **settings):
    kinds = {
        "prefix": peft.PrefixTuningConfig,
        "prompt": peft.PromptTuningConfig,
        "p-tuning": peft.PromptEncoderConfig,
    }
    return kinds[method](num_virtual_tokens=P, task_type=task(name), **settings)


def places(method, name):
    """How many virtual tokens stand before what is read, and before what is written."""
    return {"written": P} if (method, name) == ("prefix", "t5") else {"read": P}


@pytest.fixture
def exchange(pair, randomized, shifted, tmp_path):
    """Return a function that takes an adapter of PEFT here and one of ours there."""

    def run(name, method, settings=None, full_rows=False):
        both = pair(name)
        if full_rows:
            both.inputs["valid"][:] = True
            both.inputs["tokens"][both.inputs["tokens"] == 0] = 7
        config = config_of(method, name, **(settings or {}))
        theirs = randomized(peft.get_peft_model(both.base(), config))
        theirs.save_pretrained(tmp_path / "theirs")
        try:
            expected = both.expected(theirs)
        except ValueError as error:
            if "does not support past key values" not in str(error):
                raise
            # It looks for the cache by the name that it had before transformers 5.24.
            pytest.skip(f"PEFT {peft.__version__} gives this transformers no prefix of {name}")
        trained = load_peft(both.ours, tmp_path / "theirs")
        where = places(method, name)
        np.testing.assert_allclose(both.found(trained, **where), expected, atol=2e-5)
        assert np.abs(expected - both.expected(both.base())).max() > 0.1

        ours = shifted(trained)
        save_peft(both.ours, ours, tmp_path / "ours")
        found = both.found(ours, **where)
        assert np.abs(found - expected).max() > 0.1
        back = peft.PeftModel.from_pretrained(both.base(), tmp_path / "ours").eval()
        np.testing.assert_allclose(found, both.expected(back), atol=2e-5)
        return both, ours, json.loads((tmp_path / "ours" / "adapter_config.json").read_text())

    return run


# Every one of them has its own way to keys: plain, grouped, windows, biases, norms, two bases.
PREFIX = ["gpt2", "llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "bert-masked"]
SLOW = ("qwen2", "gemma3")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in PREFIX]
)
@pytest.mark.variants(2)
def test_prefixes_give_the_same_both_ways(name, exchange):
    both, _, settings = exchange(name, "prefix")
    c = both.ours.spec.config
    assert settings["num_attention_heads"] == c.kv_heads
    assert settings["token_dim"] == c.kv_heads * c.head_width
    assert settings["num_layers"] == c.depth


@pytest.mark.parametrize("name", ["bert-classifier", "roberta-classifier", "llama-classifier"])
def test_prefixes_of_classifiers_carry_the_head(name, exchange):
    _, ours, settings = exchange(name, "prefix")
    assert settings["modules_to_save"] == ["score" if "llama" in name else "classifier"]
    assert "out" in ours["params"]


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2", "bert-masked", "t5"])
@pytest.mark.variants(2)
def test_prompts_give_the_same_both_ways(name, exchange):
    _, _, settings = exchange(name, "prompt")
    assert settings["num_virtual_tokens"] == P
    assert settings["task_type"] == task(name)


def test_prompts_of_a_causal_classifier_give_the_same_without_padding(exchange):
    # Given vectors in place of tokens, Hugging Face's classifier cannot see which are padding, and
    # reads the last.
    exchange("llama-classifier", "prompt", full_rows=True)


def test_p_tuning_loads_as_the_prompt_that_its_network_made(exchange):
    exchange("gpt2", "p-tuning", {"encoder_hidden_size": 8})


# PEFT deals the pairs of blocks out by fours: with an even number it uses every second alone.
@pytest.mark.parametrize("blocks", [3, 4])
def test_prefixes_of_an_encoder_decoder_are_dealt_out_as_peft_does(blocks, exchange):
    sizes = {"token_dim": 48, "num_attention_heads": 4, "num_layers": blocks}
    _, ours, settings = exchange("t5", "prefix", sizes)
    assert (settings["num_layers"], settings["num_transformer_submodules"]) == (6, 2)
    key, value = ours["tuned"]["decoder"]["blocks"]["attention"]["prefix"]
    assert key.shape == value.shape == (3, P, 4, 12)


def test_a_prefix_through_a_network_loads_as_the_table_that_it_made(pair, randomized, tmp_path):
    both = pair("gpt2")
    config = config_of("prefix", "gpt2", prefix_projection=True, encoder_hidden_size=8)
    theirs = randomized(peft.get_peft_model(both.base(), config))
    theirs.save_pretrained(tmp_path / "a")
    trained = load_peft(both.ours, tmp_path / "a")
    np.testing.assert_allclose(both.found(trained, read=P), both.expected(theirs), atol=2e-5)


@pytest.fixture
def prefix(pair, tmp_path):
    """A saved prefix of Llama, its pair and its directory."""
    both = pair("llama")
    rng = np.random.default_rng(0)
    key, value = (jnp.asarray(rng.normal(size=(3, P, 2, 12)), jnp.float32) for _ in range(2))
    tuned = {"decoder": {"blocks": {"attention": {"prefix": (key, value)}}}}
    save_peft(both.ours, {"tuned": tuned}, tmp_path / "a")
    return both, tuned, tmp_path / "a"


def test_a_prefix_is_one_row_a_token_by_block_key_or_value_and_head(prefix):
    _, tuned, directory = prefix
    key, value = tuned["decoder"]["blocks"]["attention"]["prefix"]
    tensors = load_file(directory / "adapter_model.safetensors")
    assert list(tensors) == ["prompt_embeddings"]
    rows = tensors["prompt_embeddings"].reshape(P, 3, 2, 2, 12)
    for block in range(3):
        np.testing.assert_array_equal(rows[:, block, 0], key[block])
        np.testing.assert_array_equal(rows[:, block, 1], value[block])


def test_prefixes_that_do_not_fit_are_named(prefix):
    both, _, directory = prefix
    file, weights = directory / "adapter_config.json", directory / "adapter_model.safetensors"
    settings = json.loads(file.read_text())
    for change, message in (
        ({"num_layers": 2}, "144 columns, expected 2 x 2 blocks x 24"),
        ({"num_attention_heads": 4}, "4 heads and width 24, the model's keys 2 and 24"),
        ({"num_virtual_tokens": P + 1}, f"has {P} rows for {P + 1} virtual tokens"),
        ({"num_layers": None}, "'num_layers' must be int, got None"),
    ):
        file.write_text(json.dumps({**settings, **change}))
        with pytest.raises(DataError, match=message):
            load_peft(both.ours, directory)
    file.write_text(json.dumps({**settings, "num_layers": 2}))
    save_file({"prompt_embeddings": np.ones((P, 96), np.float32)}, weights)
    with pytest.raises(DataError, match="for 2 blocks, the model has 3"):
        load_peft(both.ours, directory)
    save_file({"x": np.ones(1, np.float32)}, weights)
    with pytest.raises(DataError, match="no matrix prompt_embeddings"):
        load_peft(both.ours, directory)


def test_a_prefix_that_is_no_table_is_refused(pair, tmp_path):
    both = pair("llama")
    tuned = {"decoder": {"blocks": {"attention": {"prefix": jnp.ones((P, 32))}}}}
    with pytest.raises(ConfigError, match="not keys and values"):
        save_peft(both.ours, {"tuned": tuned}, tmp_path / "a")


def test_a_prompt_of_another_width_is_refused(pair, tmp_path):
    both = pair("llama")
    tuned = {"embedding": {"prompt": jnp.ones((P, 32))}}
    save_peft(both.ours, {"tuned": tuned}, tmp_path / "a")
    save_file(
        {"prompt_embeddings": np.ones((P, 31), np.float32)},
        tmp_path / "a" / "adapter_model.safetensors",
    )
    with pytest.raises(DataError, match="width 31, the model 32"):
        load_peft(both.ours, tmp_path / "a")


def test_prompts_of_berts_classifier_are_refused_both_ways(pair, tmp_path):
    both = pair("bert-classifier")
    tuned = {"backbone": {"embedding": {"prompt": jnp.ones((P, 32))}}}
    with pytest.raises(ConfigError, match="first virtual token"):
        save_peft(both.ours, {"tuned": tuned}, tmp_path / "a")
    theirs = peft.get_peft_model(both.base(), config_of("prompt", "bert-classifier"))
    theirs.save_pretrained(tmp_path / "b")
    with pytest.raises(ConfigError, match="first virtual token"):
        load_peft(both.ours, tmp_path / "b")


def test_prefixes_that_reach_the_encoder_are_refused_both_ways(pair, tmp_path):
    both = pair("t5")
    node = tuple(jnp.ones((2, P, 4, 12)) for _ in range(2))
    tuned = {"encoder": {"blocks": {"attention": {"prefix": node}}}}
    with pytest.raises(ConfigError, match="one prefix, that of decoder"):
        save_peft(both.ours, {"tuned": tuned}, tmp_path / "a")
    sizes = {"token_dim": 48, "num_attention_heads": 4, "num_layers": 3}
    config = config_of("prefix", "t5", num_transformer_submodules=1, **sizes)
    peft.get_peft_model(both.base(), config).save_pretrained(tmp_path / "b")
    with pytest.raises(ConfigError, match="num_transformer_submodules 1"):
        load_peft(both.ours, tmp_path / "b")
