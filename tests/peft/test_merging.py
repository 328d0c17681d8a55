"""Tuned models as plain ones: merged, exported, and loaded by Hugging Face."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrec.cli.main import main
from jaxrec.core import ConfigError
from jaxrec.models import export_model, import_model, load_model
from jaxrec.peft import LoraConfig, load_peft, lora, merged, save_peft

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (
        "`is_gradient_checkpointing` is deprecated:FutureWarning",
        "fan_in_fan_out is set to True but the target module:UserWarning",
        "Model has `tie_word_embeddings=True` and a tied layer:UserWarning",
    )
]


@pytest.fixture
def tuned(pair, shifted):
    """Return a function: name and targets of LoRA -> `Pair` and a random adapter of ours."""

    def make(name, *targets):
        both = pair(name)
        config = LoraConfig(rank=2, alpha=3.0, targets=targets)
        boxed = lora.init(jax.random.key(0), both.ours.spec.shapes(), config)
        return both, {"tuned": shifted(nn.meta.unbox(boxed))}

    return make


# With a table that is shared, of which LoRA changes one use, the other or both.
@pytest.mark.parametrize(
    ("name", "targets", "tied"),
    [
        ("llama", ("all", "embedding", "head"), False),
        ("llama3", ("query", "embedding"), False),
        ("gpt2", ("all", "head"), False),
        ("gpt2", ("all",), True),
        ("t5", ("all", "embedding", "head"), False),
        ("qwen2", ("all",), False),
    ],
)
@pytest.mark.variants(2)
def test_merged_exports_give_what_the_adapter_gives_in_peft(name, targets, tied, tuned, tmp_path):
    both, trained = tuned(name, *targets)
    if name == "llama":
        scale = jnp.linspace(0.5, 2.0, 32)
        trained["params"] = {"decoder": {"final_norm": {"scale": scale}}}
    save_peft(both.ours, trained, tmp_path / "adapter")
    theirs = peft.PeftModel.from_pretrained(both.base(), tmp_path / "adapter").eval()
    expected = both.expected(theirs)
    plain = merged(both.ours, trained)
    assert plain.spec.shares_table is tied
    export_model(plain, tmp_path / "plain")
    auto = {
        "causal": transformers.AutoModelForCausalLM,
        "encoder_decoder": transformers.AutoModelForSeq2SeqLM,
    }[plain.spec.kind]
    back = auto.from_pretrained(tmp_path / "plain", attn_implementation="eager").eval()
    np.testing.assert_allclose(both.expected(back), expected, atol=2e-5)
    assert np.abs(expected - both.expected(both.base())).max() > 0.1


def test_a_model_in_bfloat16_stays_so(pair, randomized, tmp_path):
    both = pair("llama3")
    config = peft.LoraConfig(target_modules=["embed_tokens", "q_proj"], modules_to_save=["norm"])
    with pytest.warns(UserWarning, match="save_embedding_layers"):
        randomized(peft.get_peft_model(both.base(), config)).save_pretrained(tmp_path / "a")
    ours = import_model(both.directory, dtype="bfloat16")
    trained = load_peft(ours, tmp_path / "a")
    # The embedding lies in the adapter as it was, in float32.
    assert "embedding" not in trained["params"]
    plain = merged(ours, trained)
    assert {leaf.dtype for leaf in jax.tree.leaves(plain.params)} == {jnp.dtype("bfloat16")}
    exact = merged(both.ours, load_peft(both.ours, tmp_path / "a"))
    for found, expected in zip(
        jax.tree.leaves(plain.params), jax.tree.leaves(exact.params), strict=True
    ):
        np.testing.assert_allclose(found.astype(jnp.float32), expected, rtol=0.01, atol=0.01)


def test_a_head_that_is_untied_and_changed_is_scaled_once(tuned):
    both, trained = tuned("t5", "head")
    assert both.ours.spec.config.logit_scale != 1.0
    plain = merged(both.ours, trained)
    assert plain.spec.config.logit_scale == 1.0
    found = dataclasses.replace(both, ours=plain).found({})
    np.testing.assert_allclose(found, both.found(trained), atol=1e-5)


def test_what_no_kernel_can_hold_is_refused(tuned):
    both, _ = tuned("bert-masked", "query")
    prompt = {"backbone": {"embedding": {"prompt": jnp.ones((2, 32))}}}
    with pytest.raises(ConfigError, match=r"only LoRA can be merged.*prompt"):
        merged(both.ours, {"tuned": prompt})
    shapes = both.ours.spec.shapes()
    boxed = lora.init(jax.random.key(0), shapes, LoraConfig(targets=("embedding",)))
    with pytest.raises(ConfigError, match="share one table"):
        merged(both.ours, {"tuned": nn.meta.unbox(boxed)})


def test_import_hf_merges_an_adapter_of_peft(tuned, tmp_path, capsys):
    both, trained = tuned("llama", "query", "mlp/down")
    save_peft(both.ours, trained, tmp_path / "adapter")
    out = tmp_path / "model"
    arguments = ["import-hf", str(both.directory), "--out", str(out)]
    assert main([*arguments, "--adapter", str(tmp_path / "adapter")]) == 0
    assert "llama causal" in capsys.readouterr().out
    found = dataclasses.replace(both, ours=load_model(out)).found({})
    theirs = peft.PeftModel.from_pretrained(both.base(), tmp_path / "adapter").eval()
    np.testing.assert_allclose(found, both.expected(theirs), atol=2e-5)
    assert load_peft(both.ours, tmp_path / "adapter").keys() == {"tuned"}

    arguments[-1] = str(tmp_path / "other")
    assert main([*arguments, "--adapter", str(tmp_path / "nowhere")]) == 3
    assert "nowhere/adapter_config.json is missing" in capsys.readouterr().err
    prompt = {"tuned": {"embedding": {"prompt": jnp.ones((2, 32))}}}
    save_peft(both.ours, prompt, tmp_path / "prompt")
    assert main([*arguments, "--adapter", str(tmp_path / "prompt")]) == 2
    assert (
        "only LoRA can be merged, combined or routed, not embedding/prompt"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "other").exists()
