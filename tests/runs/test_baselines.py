"""Every baseline by its name in a config, measured as a run measures it."""

import dataclasses

import numpy as np
import pytest

from jaxrec.baselines import pairwise
from jaxrec.core import ConfigError, DataError
from jaxrec.data.dataset import load_dataset
from jaxrec.items import text as item_text
from jaxrec.runs import compare
from jaxrec.runs.baselines import measure_baseline
from jaxrec.runs.config import COUNTING, TRAINED
from jaxrec.runs.measured import Measured
from jaxrec.runs.protocol import ranking_batches
from jaxrec.systems.generative import recommender as generative
from jaxrec.systems.generative.config import EvalConfig
from jaxrec.testing import tiny_config, write_tiny_csv

SMALL = {
    "gru4rec": {"width": 8},
    "caser": {"width": 8, "image": 4},
    "bert4rec": {"width": 8},
    "dros": {"width": 8},
    "bpr": {"width": 8},
    "neumf": {"width": 4},
    "gru4rec_text": {"width": 8},
    "dros_text": {"width": 8},
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    config = tiny_config(write_tiny_csv(tmp_path_factory.mktemp("tiny")))
    for name, settings in SMALL.items():
        more = {} if name in ("bpr", "neumf") else {"max_items": 8}
        own = dataclasses.replace(
            getattr(config, name), train=config.sasrec.train, **settings, **more
        )
        config = dataclasses.replace(config, **{name: own})
    return config, load_dataset(config.data)


# One of each kind; the others are compared in tests/baselines.
QUICK = (*COUNTING, "gru4rec", "bpr")


@pytest.mark.parametrize(
    "name",
    [*QUICK, *(pytest.param(n, marks=pytest.mark.slow) for n in TRAINED if n not in QUICK)],
)
def test_is_fitted_and_ranks_every_user(name, tiny, tmp_path):
    config, dataset = tiny
    found = measure_baseline(name, config, dataset, tmp_path)
    assert found.metrics["ndcg@10"].shape == (dataset.num_users,)
    assert (found.metrics["hr@5"] <= found.metrics["hr@10"]).all()
    assert (found.parameters > 0) == (name in TRAINED)
    assert (tmp_path / "baselines" / name / "metrics.jsonl").exists() == (name in TRAINED)


def test_a_baseline_of_texts_reads_those_that_it_was_trained_with(tiny, tmp_path, monkeypatch):
    config, dataset = tiny
    first = measure_baseline("gru4rec_text", config, dataset, tmp_path)
    items = dataset.interactions.items
    kept = item_text.load_vectors(tmp_path / "baselines")
    fields = [name for name in config.ids.text_fields if name in items.fields]
    np.testing.assert_array_equal(kept, item_text.encode(items.text(*fields), None))
    # As if an encoder had been installed since: vectors as wide, of other items.
    encode = item_text.encode
    monkeypatch.setattr(item_text, "encode", lambda *words: encode(*words)[::-1])
    again = measure_baseline("gru4rec_text", config, dataset, tmp_path)
    np.testing.assert_array_equal(again.items, first.items)
    (tmp_path / "baselines" / "ids" / "text_vectors.npy").unlink()
    other = measure_baseline("gru4rec_text", config, dataset, tmp_path)
    assert (other.items != first.items).any()


def test_a_baseline_of_texts_needs_some_before_any_work(tiny, tmp_path):
    config, dataset = tiny
    config = dataclasses.replace(
        config,
        ids=dataclasses.replace(config.ids, text_fields=("plot",)),
        eval=EvalConfig(baselines=("dros_text",)),
    )
    with pytest.raises(DataError, match=r"none of the text fields plot \(ids\.text_fields\)"):
        generative.open_run(config, dataset, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_other_texts_are_another_baseline(tiny, tmp_path, monkeypatch):
    config, dataset = tiny
    hits = {"ndcg@10": np.zeros(dataset.num_users)}
    measured = Measured(
        metrics=hits,
        parameters=1,
        fit_seconds=0.0,
        test_seconds=0.0,
        items=np.zeros((dataset.num_users, 10), np.int32),
    )
    monkeypatch.setattr(compare.baselines, "measure_baseline", lambda *_: measured)
    compare.measure_baseline("gru4rec_text", config, dataset, tmp_path, 0)
    compare.measure_baseline("gru4rec_text", config, dataset, tmp_path, 0)
    ids = dataclasses.replace(config.ids, text_fields=("title",))
    config = dataclasses.replace(config, ids=ids)
    with pytest.raises(DataError, match="its texts differ"):
        compare.measure_baseline("gru4rec_text", config, dataset, tmp_path, 0)


def test_users_of_a_batch_are_rows_of_the_training_users(tiny):
    _, dataset = tiny
    train = dataset.split.train.sequences()
    seen = []
    for batch in ranking_batches(dataset, "test", True, size=16):
        for user, history in zip(batch["user"], batch["history"], strict=True):
            items = history[history >= 0]
            np.testing.assert_array_equal(items[:-1], train[user])
        seen += batch["user"][batch["valid"]].tolist()
    assert seen == list(range(dataset.num_users))


def test_baselines_over_pairs_are_those_that_read_users(tiny):
    config, _ = tiny
    pairs = {name for name in TRAINED if isinstance(getattr(config, name), pairwise.PairwiseConfig)}
    assert pairs == {"bpr", "neumf"}


def test_an_unknown_baseline_is_refused_by_name():
    with pytest.raises(
        ConfigError,
        match=r"no baseline 'gru' in eval\.baselines, did you mean 'gru4rec'\?; known: popularity",
    ):
        EvalConfig(baselines=("gru",))
