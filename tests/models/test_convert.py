"""What conversion refuses, and how little it holds in memory."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from jaxrec.core import ConfigError, DataError, ResourceError
from jaxrec.models import (
    ModelSpec,
    Pretrained,
    TransformerConfig,
    export_model,
    import_model,
    load_model,
    save_model,
)
from jaxrec.models.convert import check_free, writing
from jaxrec.models.vocabulary import extend_vocabulary
from jaxrec.testing import random_params, tiny_model


def _model(**settings):
    spec = ModelSpec("causal", TransformerConfig(vocab_size=19, width=8, depth=2, **settings))
    return Pretrained(
        spec=spec, params=random_params(spec.build(), scale=0.2), tokens={"eos_token_id": 2}
    )


def _tensors(directory):
    from safetensors.numpy import load_file

    return load_file(directory / "model.safetensors")


def _rewrite(directory, change):
    from safetensors.numpy import save_file

    tensors = _tensors(directory)
    change(tensors)
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    directory = tmp_path_factory.mktemp("exported") / "llama"
    export_model(_model(), directory)
    return directory


@pytest.fixture
def checkpoint(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "llama")


Q = "model.layers.1.self_attn.q_proj.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(Q), rf"{Q} is missing"),
        (lambda t: t.update(extra=np.zeros(3, np.float32)), "extra is not used"),
        (
            lambda t: t.update({Q: np.zeros((8, 7), np.float32)}),
            rf"{Q} has shape \(8, 7\), expected \(8, 8\)",
        ),
        (
            lambda t: t.update({"lm_head.weight": np.ones((19, 8), np.float32)}),
            r"lm_head.weight differs from model.embed_tokens.weight, to which the config ties it",
        ),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(checkpoint, change, message):
    _rewrite(checkpoint, change)
    with pytest.raises(DataError, match=message):
        import_model(checkpoint)


def test_a_head_that_equals_the_embedding_to_which_it_is_tied_is_accepted(checkpoint):
    before = import_model(checkpoint)
    _rewrite(checkpoint, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"] + 0}))
    _equal(import_model(checkpoint).params, before.params)
    # Some files keep the head and leave out the embedding.
    _rewrite(checkpoint, lambda t: t.pop("model.embed_tokens.weight"))
    _equal(import_model(checkpoint).params, before.params)


def _equal(a, b):
    a, b = (flatten_dict(tree, sep="/") for tree in (a, b))
    assert a.keys() == b.keys()
    for path in a:
        np.testing.assert_array_equal(a[path], b[path], err_msg=path)


def test_an_untied_config_wants_its_head(checkpoint):
    config = json.loads((checkpoint / "config.json").read_text())
    config["tie_word_embeddings"] = False
    (checkpoint / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match=r"lm_head\.weight is missing"):
        import_model(checkpoint)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model_type", "lama", "'lama' is not supported, did you mean 'llama'"),
        ("architectures", ["LlamaForTokenClassification"], "LlamaForTokenClassification is not"),
        ("architectures", [], "names no architecture"),
        ("hidden_act", "mish", "activation 'mish'"),
        ("rope_parameters", {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}, "'yarn'"),
    ],
)
def test_a_config_that_is_not_supported_is_refused_by_name(checkpoint, key, value, message):
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(ConfigError, match=message):
        import_model(checkpoint)


def test_files_that_are_missing_damaged_or_pickled_are_refused_by_name(checkpoint, tmp_path):
    with pytest.raises(DataError, match="nowhere is not a checkpoint"):
        import_model(tmp_path / "nowhere")
    weights = checkpoint / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"model\.safetensors is not a readable"):
        import_model(checkpoint)
    weights.rename(checkpoint / "pytorch_model.bin")
    with pytest.raises(DataError, match=r"pickled weights \(pytorch_model\.bin\)"):
        import_model(checkpoint)
    (checkpoint / "config.json").unlink()
    with pytest.raises(DataError, match=r"config\.json is missing"):
        import_model(checkpoint)


def test_a_missing_shard_is_named(tmp_path):
    export_model(_model(), tmp_path / "out", shard_bytes=2000)
    shard = sorted((tmp_path / "out").glob("*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(DataError, match=rf"names {shard.name}, which is missing"):
        import_model(tmp_path / "out")


def test_a_model_that_no_family_can_say_is_refused_with_the_fields(tmp_path):
    model = _model(gated=False, activation="gelu", norm="layer")
    with pytest.raises(ConfigError, match=r"model\.norm is layer, it has rms"):
        export_model(model, tmp_path / "out")
    with pytest.raises(
        ConfigError, match=r"mistral cannot express .*model\.qk_norm is True, it has False"
    ):
        export_model(_model(qk_norm=True), tmp_path / "out", family="mistral")
    with pytest.raises(ConfigError, match="bert has no causal"):
        export_model(_model(), tmp_path / "out", family="bert")
    with pytest.raises(ConfigError, match=r"model\.read_only is 3, it has 0"):
        export_model(_model(read_only=3), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_vocabulary_with_read_only_tokens_does_not_grow():
    with pytest.raises(ConfigError, match="the last 3 tokens of the model are read-only"):
        extend_vocabulary(_model(read_only=3), 20, jax.random.key(0))


def test_a_directory_in_use_is_kept(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    for write in (export_model, save_model):
        with pytest.raises(ConfigError, match=r"out is in use"):
            write(_model(), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_an_export_that_fails_leaves_nothing_behind(tmp_path):
    class Broken:
        def save_pretrained(self, directory):
            raise OSError("disk full")

    for write in (export_model, save_model):
        with pytest.raises(OSError, match="disk full"):
            write(_model(), tmp_path / "out", tokenizer=Broken())
    assert not list(tmp_path.iterdir())


def test_bfloat16_goes_both_ways(tmp_path):
    from safetensors import safe_open

    model = _model()
    export_model(model, tmp_path / "half", dtype="bfloat16")
    with safe_open(tmp_path / "half" / "model.safetensors", "np") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"BF16"}  # noqa: SIM118
    back = import_model(tmp_path / "half", dtype="bfloat16")
    for path, leaf in flatten_dict(model.params, sep="/").items():
        found = flatten_dict(back.params, sep="/")[path]
        assert found.dtype == "bfloat16"
        np.testing.assert_array_equal(found, leaf.astype("bfloat16"))


def test_every_leaf_is_placed_by_its_path_and_one_at_a_time(checkpoint):
    placed = []

    def place(path, leaf):
        placed.append((path, leaf.shape))
        return leaf

    model = import_model(checkpoint, place=place)
    assert dict(placed) == model.spec.flat_shapes()
    assert len(placed) == len(set(placed))


def test_our_own_layout_gives_the_same_model_back(tmp_path):
    import dataclasses

    from jaxrec.nn import RopeScaling

    scaling = RopeScaling(kind="llama3", factor=8.0, low=1.0, high=4.0, original=64)
    spec = ModelSpec("causal", dataclasses.replace(tiny_model(), rope_scaling=scaling))
    model = Pretrained(
        spec=spec, params=random_params(spec.build()), family="llama", tokens={"eos_token_id": 3}
    )
    save_model(model, tmp_path / "model")
    back = load_model(tmp_path / "model")
    assert (back.spec, back.family, back.tokens) == (spec, "llama", {"eos_token_id": 3})
    _equal(back.params, model.params)
    next((tmp_path / "model" / "params").iterdir()).unlink()
    with pytest.raises(DataError, match=r"safetensors cannot be read"):
        load_model(tmp_path / "model")


def test_a_directory_that_cannot_be_made_is_a_resource_error_before_and_while_writing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match=r"cannot make .*file is a file; choose another"):
        check_free(tmp_path / "file" / "a" / "b")
    check_free(tmp_path / "a" / "b")
    # No process may make a directory there, not even one that may do anything else.
    with (
        pytest.raises(ResourceError, match=r"cannot make /proc/x/y: .*; choose another"),
        writing(Path("/proc/x/y")),
    ):
        pass
