"""A run that starts from a pretrained encoder-decoder."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxrec.core import ConfigError
from jaxrec.data import DataConfig, load_dataset, save_tokenizer, train_bpe, train_unigram
from jaxrec.models import ModelSpec, Pretrained, save_model
from jaxrec.peft import TuneConfig
from jaxrec.runs import Options
from jaxrec.systems.instructrec import InstructRecConfig, InstructRecEvalConfig, base, run
from jaxrec.systems.instructrec.tested import SEQUENTIAL
from jaxrec.testing import random_params, tiny_config, tiny_model, write_tiny_csv
from jaxrec.train import TrainConfig


def _save(directory, kind, tokenizer):
    spec = ModelSpec(kind, tiny_model(len(tokenizer)))
    params = random_params(spec.build())
    save_model(Pretrained(spec=spec, params=params), directory)
    save_tokenizer(tokenizer, directory)
    return spec, params


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    place = tmp_path_factory.mktemp("base")
    data: DataConfig = tiny_config(write_tiny_csv(place)).data
    tokenizer = train_unigram(["someone watched Film 001 (1951) and wants a drama"] * 3, 400)
    _save(place / "model", "encoder_decoder", tokenizer)
    return InstructRecConfig(
        item_names="titles",
        max_items=2,
        tasks=(SEQUENTIAL, "P1-I2-T2"),
        rows=(6, 2),
        groups=1,
        data=data,
        tune=TuneConfig(base=str(place / "model")),
        train=TrainConfig(steps=2, batch_size=8, eval_every=2, log_every=2, warmup_steps=1),
        eval=InstructRecEvalConfig(baselines=(), hard=(), many=0, resamples=20),
    )


def test_a_run_has_the_shape_the_tokenizer_and_the_parameters_of_its_base(config, tmp_path):
    found = base.resolve(config)
    opened = base.open_base(config)
    assert found.model == opened.model.spec.config != config.model
    parts = run.open_run(found, load_dataset(config.data), tmp_path / "run", write=False)
    assert parts.prompted.model.config == opened.model.spec.config
    assert parts.prompted.tokenizer.get_vocab() == opened.tokenizer.get_vocab()
    started, shapes = (
        base.first_params(config)(),
        jax.eval_shape(parts.prompted.init, jax.random.key(0)),
    )
    wanted = jax.tree.map(lambda leaf: leaf.shape, jax.tree.leaves(shapes))
    assert [leaf.shape for leaf in jax.tree.leaves(started)] == wanted
    for one, other in zip(
        jax.tree.leaves(started["params"]), jax.tree.leaves(opened.model.params), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    plain = dataclasses.replace(config, tune=TuneConfig(), item_names="tokens")
    assert base.resolve(plain) == plain and base.first_params(plain) is None


@pytest.mark.slow
def test_a_run_from_a_base_is_trained_and_measured(config, tmp_path):
    found = base.resolve(config)
    run.train(config, tmp_path / "run", Options())
    report = run.evaluate(found, tmp_path / "run", baselines=())
    assert set(report["rows"]) >= {"model", "right intention", "wrong intention"}
    # Titles differ in length, so the mean is another ranking than the sum.
    rows = report["tables"]["normalization"]["rows"]
    assert {"sum, no intention", "mean, no intention"} <= set(rows)
    trained = run.load(found, tmp_path / "run")
    begun = jax.tree.leaves(base.first_params(config)())
    # Two small steps: near the base, and not the base.
    gaps = [
        float(np.abs(np.asarray(a) - np.asarray(b)).max())
        for a, b in zip(begun, jax.tree.leaves(trained.prompted.params["params"]), strict=True)
    ]
    assert 0 < max(gaps) < 0.05


@pytest.mark.parametrize(
    ("kind", "tokenizer", "words"),
    [
        ("causal", lambda: train_unigram(["a film"] * 3, 360), "it must be an encoder-decoder"),
        ("encoder_decoder", lambda: train_bpe(["a film"], 300), "does not end texts"),
    ],
)
def test_a_base_of_another_kind_is_refused(config, tmp_path, kind, tokenizer, words):
    _save(tmp_path / "model", kind, tokenizer())
    other = dataclasses.replace(config, tune=TuneConfig(base=str(tmp_path / "model")))
    with pytest.raises(ConfigError, match=words):
        base.resolve(other)
