"""Runs of the generative recommender whose model has HSTU's blocks."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import jaxrec
from jaxrec.core import ConfigError
from jaxrec.data.dataset import load_dataset
from jaxrec.ids import ItemCodes, ItemIndex, write_histories
from jaxrec.models import TransformerConfig
from jaxrec.peft import TuneConfig
from jaxrec.runs import load_codes
from jaxrec.systems.generative import recommender as generative
from jaxrec.systems.generative.config import BatchConfig, Config, DecodeConfig
from jaxrec.systems.generative.model import make_model, vocabulary
from jaxrec.testing import tiny_config, write_tiny_csv
from jaxrec.testing.brute_force import Case, level_logits, score_of

HSTU = TransformerConfig(width=16, depth=2, num_heads=2, block="hstu", dropout=0.1)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"architecture": "prefix"}, r"architecture prefix .* set architecture causal"),
        ({"architecture": "encoder_decoder"}, r"architecture encoder_decoder .* causal"),
        (
            {"model": dataclasses.replace(HSTU, max_length=100)},
            r"model\.max_length 100 has no meaning .* max_items 30 .* leave it out \(512\)",
        ),
    ],
    ids=["prefix", "encoder-decoder", "max_length"],
)
def test_what_has_no_meaning_in_a_run_is_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        Config(**({"model": HSTU} | settings))


def test_the_divisor_is_the_number_of_tokens_that_are_read_or_that_of_the_base():
    codes = ItemCodes(codes=np.array([[0, 1], [1, 0]]), sizes=(2, 2), scheme="mine")
    config = Config(max_items=5, model=HSTU)
    # The beginning, five items and the one that follows.
    assert make_model(config, codes).config.max_length == 1 + 6 * 2
    # Distances that no window of training has are not read.
    assert config.items_read == 4
    learned = dataclasses.replace(HSTU, positions="learned")
    assert make_model(Config(max_items=5, model=learned), codes).config.max_length == 13
    base = dataclasses.replace(HSTU, max_length=13)
    tuned = Config(max_items=4, model=base, tune=TuneConfig(base="somewhere"))
    assert make_model(tuned, codes).config.max_length == 13
    with pytest.raises(ConfigError, match=r"max_items 6: 15 tokens, .* distances end at .* 13"):
        make_model(dataclasses.replace(tuned, max_items=6), codes)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["pad", "bucket", "pack"])
def test_a_run_of_every_layout_trains_and_lists_as_brute_force_does(layout, tmp_path):
    config = dataclasses.replace(
        tiny_config(write_tiny_csv(tmp_path)), model=HSTU, batches=BatchConfig(layout=layout)
    )
    config = dataclasses.replace(config, decode=DecodeConfig(beams=30, batch_size=4))
    path = jaxrec.train_run(config, tmp_path / "run")
    codes, dataset = load_codes(path), load_dataset(config.data)
    recommender = generative.load_recommender(config, codes, path)
    histories = dataset.split.history("test")[:3]
    items, scores = recommender.recommend(histories)
    words = vocabulary(config, codes)
    case = Case(
        model=recommender.model,
        params=recommender.params,
        codes=codes.codes,
        vocabulary=words,
        index=ItemIndex.build(codes),
        # As long as one likes: the divisor is that of the model.
        tokens=jnp.asarray(
            write_histories(
                [history[-config.items_read :] for history in histories],
                words.tokens(codes.codes),
                config.max_items + 3,
            )
        ),
        kind="causal",
    )
    logits, everything = level_logits(case), np.ones(case.items, bool)
    for user in range(3):
        expected = np.array(
            [score_of(case, logits, user, everything, item, "codes") for item in range(case.items)]
        )
        np.testing.assert_allclose(scores[user], expected[items[user]], atol=1e-4)
        np.testing.assert_allclose(scores[user], np.sort(expected)[::-1], atol=1e-4)
    opened = jaxrec.open(path).recommend(users=["u003"], top=5)
    assert (opened.numbers >= 0).all()
    if layout == "pad":
        report = jaxrec.evaluate_run(path, baselines=("markov",))
        assert "markov" in str(report)
        with pytest.raises(ConfigError, match=r"no family for model\.block hstu"):
            jaxrec.export_run(path, tmp_path / "out")
        assert not (tmp_path / "out").exists()
