"""Whole models against Hugging Face in PyTorch, both ways, and layers alone."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.models import ModelSpec, TransformerConfig, export_model, import_model
from jaxrec.testing.peers import (
    PEERS,
    batch,
    compared,
    make_peer,
    our_greedy,
    our_output,
    their_greedy,
    their_output,
)

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

LENGTHS = (1, 7, 21)


@pytest.fixture(autouse=True)
def _quiet():
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.variants(4)
def test_outputs_equal_hugging_face_on_the_way_in_and_on_the_way_out(name, tmp_path):
    theirs = make_peer(name, tmp_path / "in")
    ours = import_model(tmp_path / "in")
    for length in LENGTHS:
        inputs = batch(name, length)
        expected = compared(inputs, their_output(theirs, inputs))
        found = compared(inputs, our_output(ours, inputs))
        assert np.abs(expected).max() > 0.5
        np.testing.assert_allclose(found, expected, atol=1e-4)

    family = export_model(ours, tmp_path / "out", shard_bytes=40_000)
    assert family == json.loads((tmp_path / "in" / "config.json").read_text())["model_type"]
    assert len(list((tmp_path / "out").glob("model-*.safetensors"))) > 1
    automatic = {
        "causal": "AutoModelForCausalLM",
        "encoder_decoder": "AutoModelForSeq2SeqLM",
        "encoder": "AutoModel",
        "masked": "AutoModelForMaskedLM",
        "causal_classifier": "AutoModelForSequenceClassification",
        "encoder_classifier": "AutoModelForSequenceClassification",
    }[ours.spec.kind]
    back, report = getattr(transformers, automatic).from_pretrained(
        tmp_path / "out", output_loading_info=True, attn_implementation="eager"
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert type(back) is type(theirs)
    found = compared(inputs, their_output(back.eval(), inputs))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    again = import_model(tmp_path / "out")
    assert again.spec == ours.spec
    if ours.spec.kind in ("causal", "encoder_decoder"):
        inputs = batch(name, 10)
        expected = their_greedy(theirs, inputs, 64)
        assert len(np.unique(expected)) > 5
        np.testing.assert_array_equal(our_greedy(ours, inputs, 64), expected)


@pytest.mark.parametrize(
    "name", ["llama", "qwen3", "gemma2", "gpt2", "bert", "t5", "t5-1.1", "mistral"]
)
def test_states_of_one_layer_equal_hugging_face_to_1e_5(name, tmp_path, monkeypatch):
    peer = PEERS[name]
    depth = {"gpt2": "n_layer", "t5": "num_layers", "t5-1.1": "num_layers"}
    settings = {**peer.settings, depth.get(name, "num_hidden_layers"): 1}
    if name.startswith("t5"):
        settings["num_decoder_layers"] = 1
    monkeypatch.setitem(PEERS, name, type(peer)(peer.architecture, settings))
    theirs = make_peer(name, tmp_path)
    ours = import_model(tmp_path)
    inputs = batch(name, 9)
    expected = compared(inputs, their_output(theirs, inputs))
    np.testing.assert_allclose(compared(inputs, our_output(ours, inputs)), expected, atol=1e-5)


def test_the_pooled_state_of_bert_equals_hugging_face(tmp_path):
    theirs = make_peer("bert", tmp_path)
    ours = import_model(tmp_path)
    assert ours.spec.config.pooler
    inputs = batch("bert", 9)
    with torch.no_grad():
        expected = theirs(
            torch.tensor(inputs["tokens"].astype(np.int64)),
            attention_mask=torch.tensor(inputs["valid"].astype(np.int64)),
        ).pooler_output
    states = jnp.asarray(our_output(ours, inputs))
    found = ours.spec.build().apply(ours.params, states, method="pooled")
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_token_types_are_read_as_hugging_face_reads_them(tmp_path):
    theirs = make_peer("bert", tmp_path)
    ours = import_model(tmp_path)
    inputs = batch("bert", 9)
    types = np.tile(np.arange(9) >= 4, (3, 1)).astype(np.int32)
    with torch.no_grad():
        expected = theirs(
            torch.tensor(inputs["tokens"].astype(np.int64)),
            attention_mask=torch.tensor(inputs["valid"].astype(np.int64)),
            token_type_ids=torch.tensor(types.astype(np.int64)),
        ).last_hidden_state.numpy()
    model = ours.spec.build()
    arrays = (jnp.asarray(inputs["tokens"]), jnp.asarray(inputs["valid"]))
    found = model.apply(ours.params, *arrays, types=jnp.asarray(types))
    valid = inputs["valid"]
    np.testing.assert_allclose(np.asarray(found)[valid], expected[valid], atol=1e-5)


@pytest.mark.parametrize("flavour", ["generative", "sasrec"])
def test_a_recommender_of_ours_has_a_family_that_says_exactly_it(flavour, tmp_path):
    settings = {
        "generative": {"activation": "relu", "gated": False, "qk_norm": False},
        "sasrec": {
            "norm": "layer",
            "positions": "learned",
            "activation": "relu",
            "gated": False,
            "qkv_bias": True,
            "out_bias": True,
            "mlp_bias": True,
        },
    }[flavour]
    from jaxrec.models import Pretrained
    from jaxrec.testing import random_params

    config = TransformerConfig(vocab_size=61, width=32, num_heads=4, dropout=0.3, **settings)
    spec = ModelSpec("causal", config)
    ours = Pretrained(spec=spec, params=random_params(spec.build(), scale=0.2))
    family = export_model(ours, tmp_path / "out")
    assert family == {"generative": "arcee", "sasrec": "gpt2"}[flavour]
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    inputs = batch("llama", 9)
    found, expected = our_output(ours, inputs), their_output(theirs, inputs)
    np.testing.assert_allclose(compared(inputs, found), compared(inputs, expected), atol=1e-4)
