"""Baselines beside a run open like its model."""

import json

import numpy as np
import pytest

import jaxrec
from jaxrec.baselines import (
    BprConfig,
    Gru4RecConfig,
    cooccurrence,
    item_knn,
    markov,
    mf_als,
    pair_table,
    popularity,
)
from jaxrec.cli.main import main
from jaxrec.core import ConfigError, DataError
from jaxrec.data import load_dataset
from jaxrec.ids import pad_items
from jaxrec.runs import COUNTING, fit_baseline
from jaxrec.train import TrainConfig

from .runs import generative_run, sasrec_run, without_data

MODULES = dict(zip(COUNTING, (popularity, item_knn, markov, cooccurrence, mf_als), strict=True))
USERS = ["u003", "u017", "u039"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose data are gone, and its data set."""
    config, path = sasrec_run(tmp_path_factory.mktemp("baselines"))
    dataset = load_dataset(config.data)
    without_data(path)
    return path, dataset


def scores_of(name, dataset, histories):
    params = MODULES[name].fit(dataset.split.train.sequences(), dataset.num_items)
    return np.asarray(MODULES[name].scores(params, {"history": pad_items(histories, 32)}))


# Alternating least squares compile for long.
@pytest.mark.parametrize(
    "name", [*COUNTING[:-1], pytest.param(COUNTING[-1], marks=pytest.mark.slow)]
)
def test_counting_baselines_rank_by_what_the_training_interactions_say(name, run):
    path, dataset = run
    model = jaxrec.open(path, baseline=name)
    histories = [dataset.interactions.history(int(user[1:])) for user in USERS]
    wanted = scores_of(name, dataset, histories)
    lists = model.recommend(users=USERS, top=12)
    for row, history in enumerate(histories):
        left = np.where(np.isin(np.arange(30), history), -np.inf, wanted[row])
        order = np.argsort(-left, kind="stable")[:12]
        np.testing.assert_allclose(lists.scores[row], left[order], rtol=1e-5, atol=1e-6)
    ids = dataset.interactions.items.ids
    scores = model.score([ids[history] for history in histories], ids)
    np.testing.assert_allclose(scores, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["item_knn", "markov"])
def test_sparse_tables_of_large_catalogues_give_the_same_lists(name, run, monkeypatch):
    path, _ = run
    dense = jaxrec.open(path, baseline=name).recommend(users=USERS, top=12, exclude=["i003"])
    monkeypatch.setattr(pair_table, "MAX_ITEMS", 5)
    model = jaxrec.open(path, baseline=name)
    assert model.ranker.on_host
    sparse = model.recommend(users=USERS, top=12, exclude=["i003"])
    np.testing.assert_allclose(sparse.scores, dense.scores, rtol=1e-5, atol=1e-6)
    some = model.score([["i001", "i002"]], ["i004", "i009"])
    assert some.shape == (1, 2) and np.isfinite(some).all()


def test_commands_take_a_baseline_and_never_mix_its_lists(run, tmp_path, capsys):
    path, _ = run
    out = tmp_path / "out"
    words = ["recommend", str(path), "--users", "all", "--out", str(out), "--top", "4"]
    assert main([*words, "--baseline", "markov"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["users"] == 40
    assert main(words) == 2
    assert "baseline was markov and is" in capsys.readouterr().err
    assert main(["recommend", str(path), "--history", "i003", "--baseline", "item_knn"]) == 0
    wanted = jaxrec.open(path, baseline="item_knn").recommend(histories=[["i003"]])
    assert wanted.titles[0, 0] in capsys.readouterr().out


def test_what_a_baseline_cannot_do_says_why(run, tmp_path):
    path, _ = run
    with pytest.raises(ConfigError, match="no baseline 'item-knn', did you mean 'item_knn'"):
        jaxrec.open(path, baseline="item-knn")
    with pytest.raises(ConfigError, match=r"settings of bpr .* a SasrecRunConfig does not have"):
        jaxrec.open(path, baseline="bpr")
    model = jaxrec.open(path, baseline="popularity")
    for change in (lambda: model.add_items([{"item": "n0", "title": "x"}]), model.save):
        with pytest.raises(ConfigError, match=r"baseline popularity beside .* without a baseline"):
            change()
    _, other = generative_run(tmp_path)
    with pytest.raises(DataError, match=r"no trained gru4rec; train it by jaxrec eval .* gru4rec"):
        jaxrec.open(other, baseline="gru4rec")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bpr", "gru4rec"])
def test_trained_baselines_open_with_the_scores_that_were_measured(name, tmp_path):
    train = TrainConfig(steps=4, batch_size=16, eval_every=4)
    config, path = generative_run(
        tmp_path,
        bpr=BprConfig(width=8, train=train),
        gru4rec=Gru4RecConfig(width=8, max_items=6, train=train),
    )
    dataset = load_dataset(config.data)
    score, _ = fit_baseline(name, config, dataset, path)
    numbers = np.array([int(user[1:]) for user in USERS])
    histories = [dataset.interactions.history(number) for number in numbers.tolist()]
    batch = {"history": pad_items(histories, 16), "user": numbers}
    wanted = np.asarray(score(batch))
    without_data(path)
    model = jaxrec.open(path, baseline=name)
    ids = dataset.interactions.items.ids
    read = {user: ids[history] for user, history in zip(USERS, histories, strict=True)}
    np.testing.assert_allclose(model.score(read, ids), wanted, rtol=1e-5, atol=1e-6)
    if name == "bpr":
        with pytest.raises(ConfigError, match="this model reads who the user is"):
            model.recommend(histories=[ids[:3]])
        with pytest.raises(ConfigError, match="no user 'ann'"):
            model.recommend(histories={"ann": ids[:3]})


def test_removed_items_stay_away_from_baselines_too(tmp_path):
    _, path = sasrec_run(tmp_path)
    model = jaxrec.open(path)
    best = jaxrec.open(path, baseline="popularity").recommend(users=USERS[:1]).items[0, :2].tolist()
    model.remove_items(best)
    model.save()
    again = jaxrec.open(path, baseline="popularity").recommend(users=USERS[:1], top=20)
    assert not set(best) & set(again.items[0])
