"""Runs that start from a run or from a text model, and train a part of it."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from jaxrec.core import ConfigError, DataError
from jaxrec.data.dataset import load_dataset
from jaxrec.decode import Recommender
from jaxrec.ids import IdVocabulary
from jaxrec.models import ModelSpec, Pretrained, TransformerConfig, load_model, save_model
from jaxrec.nn import TUNED, StoredKernel
from jaxrec.peft import TuneConfig
from jaxrec.quant import dequantize_params
from jaxrec.runs.opened import open_any
from jaxrec.systems.generative import recommender as generative
from jaxrec.systems.generative.config import load_config
from jaxrec.systems.generative.model import resolve, vocabulary
from jaxrec.systems.generative.parameters import load_start, load_variables, merged_model
from jaxrec.systems.generative.trainable import ROWS
from jaxrec.testing import random_params, tiny_config, write_tiny_csv
from jaxrec.train import Checkpoints

# Compiling is nearly all that a run takes here, so runs of the same settings share their step.
PLANS = {}
SLOW = pytest.mark.slow
METHODS = {
    "lora": {"rank": 2},
    "qlora": {"rank": 2, "also": ("norm",)},
    "adapter": {"bottleneck": 4},
    "prefix": {"virtual_tokens": 3, "prefix_hidden": 8},
    "prompt": {"virtual_tokens": 3},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("tuned")


@pytest.fixture(scope="module")
def config(place):
    config = tiny_config(write_tiny_csv(place))
    return dataclasses.replace(
        config,
        train=dataclasses.replace(config.train, steps=4, eval_every=2, log_every=1),
        eval=dataclasses.replace(config.eval, baselines=()),
    )


@pytest.fixture(scope="module")
def dataset(config):
    return load_dataset(config.data)


def ranked(recommender, histories, *_, **__):
    """In place of a search, which takes longer to compile than all else: some items for each."""
    items = np.arange(len(histories))[:, None] + np.arange(10)[None]
    return (items % 30).astype(np.int32), np.zeros(items.shape, np.float32)


def train(config, dataset, directory, recommend=ranked):
    config = resolve(config)
    codes = generative.open_run(config, dataset, directory)
    if config not in PLANS:
        PLANS[config] = generative.plan_training(config, dataset, codes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recommender, "recommend", recommend)
        result = generative.train(config, dataset, codes, directory, PLANS[config])
    return config, codes, result


def tuned(config, base, method, **settings):
    tune = TuneConfig(method=method, base=str(base), **METHODS.get(method, {}) | settings)
    return dataclasses.replace(config, tune=tune)


@pytest.fixture(scope="module")
def base(config, dataset, place):
    train(config, dataset, place / "base")
    return place / "base"


@pytest.fixture(scope="module")
def lora(config, dataset, base, place):
    """A finished LoRA run: config, IDs, result and directory."""
    return *train(tuned(config, base, "lora"), dataset, place / "lora"), place / "lora"


@pytest.fixture(scope="module")
def text(place):
    """A text model of 40 tokens in tables of 48 rows, with a tokenizer."""
    from jaxrec.data.tokenizers import train_bpe

    tokenizer = train_bpe(["what will the user watch next?"] * 5, 280)
    shape = TransformerConfig(
        vocab_size=len(tokenizer) + 8, width=16, depth=1, num_heads=2, tie_embeddings=False
    )
    spec = ModelSpec("causal", shape)
    model = Pretrained(
        spec=spec, params=random_params(spec.build()), family="llama", tokens={"bos_token_id": 1}
    )
    save_model(model, place / "text", tokenizer)
    return place / "text", model, len(tokenizer)


def leaves(tree):
    return {path: np.asarray(leaf) for path, leaf in flatten_dict(tree["params"], sep="/").items()}


def same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_lora_leaves_the_base_as_it_was_and_is_loaded_beside_it(config, base, lora):
    settings, codes, result, directory = lora
    before = leaves(load_variables(config, codes, base))
    found = load_variables(settings, codes, directory)
    assert set(found) == {"params", TUNED}
    after = leaves(found)
    assert after.keys() == before.keys()
    for path, leaf in before.items():
        np.testing.assert_array_equal(after[path], leaf, path)
    same(found, result.params)
    b = found[TUNED]["decoder"]["blocks"]["attention"]["query"]["update"].b
    assert np.abs(b).max() > 0


def test_a_merged_run_recommends_what_the_tuned_one_does(lora, dataset):
    settings, codes, result, directory = lora
    model = merged_model(settings, codes, directory)
    assert set(model.params) == {"params"}
    histories = dataset.split.history("test")[:8]
    recommender = generative.make_recommender(settings, codes, result.params)
    items, scores = recommender.recommend(histories)
    merged, merged_scores = dataclasses.replace(recommender, params=model.params).recommend(
        histories
    )
    np.testing.assert_array_equal(items, merged)
    np.testing.assert_allclose(scores, merged_scores, atol=1e-5)


@pytest.mark.parametrize(
    "method", ["qlora", *(pytest.param(m, marks=SLOW) for m in ("adapter", "prefix", "prompt"))]
)
def test_every_method_trains_and_loads(config, dataset, base, tmp_path, method):
    settings, codes, result = train(tuned(config, base, method), dataset, tmp_path)
    assert result.compiles_after_warmup == 0
    recommender = generative.load_recommender(settings, codes, tmp_path)
    same(recommender.params, result.params)
    items, scores = recommender.recommend(dataset.split.history("test")[:8])
    assert (items >= 0).all() and np.isfinite(scores).all()
    original = leaves(load_variables(config, codes, base))
    kernel = result.params["params"]["decoder"]["blocks"]["mlp"]["up"]["kernel"]
    assert isinstance(kernel, StoredKernel) == (method == "qlora")
    kept = leaves({"params": dequantize_params(result.params["params"])})
    # NF4 rounds the kernels, and nothing else of what is frozen changes.
    for path, leaf in original.items():
        if not (method == "qlora" and "/kernel" in path) and "norm" not in path:
            np.testing.assert_array_equal(kept[path], leaf, path)
    changed = any(not np.array_equal(kept[p], original[p]) for p in kept if "norm" in p)
    assert changed == (method in ("qlora", "adapter"))


@SLOW
def test_full_fine_tuning_starts_from_the_base_and_needs_it_no_more(
    config, dataset, base, tmp_path
):
    settings = tuned(config, base, "full")
    settings = dataclasses.replace(settings, train=dataclasses.replace(settings.train, lr=1e-9))
    settings, codes, result = train(settings, dataset, tmp_path / "run")
    for path, leaf in leaves(load_variables(config, codes, base)).items():
        np.testing.assert_allclose(leaves(result.params)[path], leaf, atol=1e-6)
    moved = dataclasses.replace(settings, tune=TuneConfig(base=str(tmp_path / "gone")))
    same(load_variables(moved, codes, tmp_path / "run"), result.params)


class Killed(Exception):
    """Stands for a kill in the middle of a run."""


def test_a_killed_lora_run_resumes_to_the_same_bits(config, dataset, base, lora, tmp_path):
    calls = 0

    def dying(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Killed
        return ranked(*arguments, **options)

    with pytest.raises(Killed):
        train(tuned(config, base, "lora"), dataset, tmp_path, dying)
    _, _, resumed = train(tuned(config, base, "lora"), dataset, tmp_path)
    same(resumed.params, lora[2].params)


def test_a_base_that_changed_is_refused(config, dataset, base, lora, place):
    settings, codes, _, directory = lora
    plan, moved = PLANS[config], place / "moved"
    shutil.copytree(base, moved)
    try:
        with Checkpoints(base / "checkpoints") as checkpoints:
            state, record = checkpoints.restore(checkpoints.best, plan.state)
            state = jax.tree.map(lambda leaf: leaf + jnp.ones((), leaf.dtype), state)
            checkpoints.save(9, state, record, 1.0)
        for action in (
            lambda: load_variables(settings, codes, directory),
            lambda: generative.train(settings, dataset, codes, directory, PLANS[settings]),
        ):
            with pytest.raises(DataError, match=r"frozen parameters .*base \(sha256 .* are now"):
                action()
    finally:
        shutil.rmtree(base)
        moved.rename(base)
    load_variables(settings, codes, directory)


@SLOW
def test_a_tuned_run_may_itself_be_a_base(config, dataset, lora, tmp_path):
    _, _, result = train(tuned(config, lora[3], "lora"), dataset, tmp_path)
    merged = merged_model(*lora[:2], lora[3])
    for path, leaf in leaves(merged.params).items():
        np.testing.assert_array_equal(leaves(result.params)[path], leaf, path)


@pytest.mark.parametrize(
    "method", ["lora", *(pytest.param(m, marks=SLOW) for m in ("prompt", "full"))]
)
def test_a_text_model_learns_item_ids_as_new_tokens(config, dataset, text, tmp_path, method):
    path, model, tokens = text
    settings = tuned(config, path, method)
    if method == "prompt":
        tune = dataclasses.replace(settings.tune, prompt_init="text", prompt_text="the user")
        settings = dataclasses.replace(settings, tune=tune)
    settings, codes, result = train(settings, dataset, tmp_path)
    words = vocabulary(settings, codes)
    assert words == IdVocabulary(sizes=codes.sizes, num_special=tokens)
    found, original = leaves(result.params), leaves(model.params)
    for table in ("embedding/table", "head/table"):
        assert len(found[table]) == words.size
        if method != "full":
            np.testing.assert_array_equal(found[table][:tokens], original[table][:tokens])
        # The rows of the IDs begin at the mean of the others, and learn.
        rows = found[table][tokens:] - original[table][:tokens].mean(0, keepdims=True)
        assert 0.005 < np.abs(rows).mean() < 0.1
        start = load_start(settings, codes)
        begun = start.trainable()
        begun = begun["params"] if method == "full" else begun[ROWS]
        begun = np.asarray(flatten_dict(begun, sep="/")[table])[-sum(codes.sizes) :]
        assert np.abs(begun - found[table][tokens:]).max() > 1e-3
    recommender = generative.load_recommender(settings, codes, tmp_path)
    same(recommender.params, result.params)
    items, _ = recommender.recommend(dataset.split.history("test")[:4])
    assert (items >= 0).all()
    if method != "lora":
        return
    # It is opened with the text's tokenizer.
    opened = open_any(tmp_path)
    assert (opened.model.family, opened.model.tokens) == ("llama", {"bos_token_id": 1})
    assert opened.model.spec.config.vocab_size == len(opened.tokenizer) == tokens + sum(codes.sizes)
    words = opened.tokenizer("watch " + opened.items[2]["id"])["input_ids"]
    np.testing.assert_array_equal(words[-2:], codes.codes[2] + np.array([0, 8]) + tokens)


def test_a_base_of_other_items_is_refused_by_name(config, dataset, base, tmp_path):
    def refused(settings, data, message):
        with pytest.raises(ConfigError, match=message):
            generative.open_run(resolve(tuned(settings, base, "lora")), data, tmp_path / "run")
        assert not (tmp_path / "run").exists()

    other = dataclasses.replace(config, ids=dataclasses.replace(config.ids, seed=3))
    refused(other, dataset, r"base knows item i000 as <a_\d+><b_\d+>, and here its ID is <a_")
    (tmp_path / "few").mkdir()
    few = tiny_config(write_tiny_csv(tmp_path / "few", users=20, items=20))
    few = dataclasses.replace(config, data=few.data)
    refused(few, load_dataset(few.data), r"base has 30 items, and the data have 20")


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("lora", {"targets": ("qery",)}, r"no layer 'qery' for LoRA, did you mean 'query'"),
        ("lora", {"also": ("nrm",)}, r"no parameter 'nrm' for tune.also"),
        (
            "prompt",
            {"prompt_init": "text", "prompt_text": "x"},
            r"no tokens of text.*prompt_text 'x'",
        ),
    ],
)
def test_tuning_that_does_not_fit_is_refused_before_anything_is_written(
    config, dataset, base, tmp_path, method, settings, message
):
    with pytest.raises(ConfigError, match=message):
        generative.open_run(
            resolve(tuned(config, base, method, **settings)), dataset, tmp_path / "run"
        )
    assert not (tmp_path / "run").exists()


def test_a_method_without_a_base_is_refused(config):
    with pytest.raises(ConfigError, match=r"tune\.method lora .*tune\.base"):
        dataclasses.replace(config, tune=TuneConfig(method="lora"))


def test_bases_that_no_recommender_starts_from_are_refused(config, text, tmp_path):
    path, model, _ = text
    shape = dataclasses.replace(model.spec.config, tie_embeddings=True)
    encoder = ModelSpec("encoder", shape)
    save_model(
        Pretrained(spec=encoder, params=random_params(encoder.build()), family="bert", tokens={}),
        tmp_path / "encoder",
    )
    save_model(load_model(path), tmp_path / "mute")
    for name, error, message in [
        ("encoder", ConfigError, r"encoder is of kind encoder; .*causal"),
        ("mute", ConfigError, r"mute has no tokenizer"),
        ("nothing", DataError, r"nothing"),
    ]:
        with pytest.raises(error, match=message):
            resolve(tuned(config, tmp_path / name, "lora"))


def test_a_run_keeps_the_shape_that_it_was_resolved_with(config, base, lora):
    settings, _, _, directory = lora
    wider = dataclasses.replace(config.model, width=32, dropout=0.25)
    found = resolve(dataclasses.replace(tuned(config, base, "lora"), model=wider))
    assert (found.model.width, found.model.dropout) == (16, 0.25)
    assert load_config(directory) == settings == resolve(settings)
