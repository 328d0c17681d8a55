"""HSTU in use: times of histories in shards and beside a run; a service of HSTU's blocks."""

import csv
import dataclasses

import jax
import numpy as np
import pytest

import jaxrec
from jaxrec.baselines import HstuConfig
from jaxrec.core import CompileCounter
from jaxrec.data import load_dataset
from jaxrec.ids import pad_items
from jaxrec.runs import fit_baseline, sequential_run
from jaxrec.serve import BatchOptions, recommend_all
from jaxrec.testing import tiny_model
from jaxrec.train import TrainConfig

from .items import ask, serving_items
from .runs import generative_run, hstu_run, without_data

USERS = ["u003", "u017", "u039"]


def histories_and_times(dataset, users):
    """Items, and seconds since the first of them, from the interactions themselves."""
    data = dataset.interactions
    parts = [slice(*data.offsets[int(user[1:]) :][:2]) for user in users]
    return [data.item[part] for part in parts], [
        (data.time[part] - data.time[part][0]).astype(np.int32) for part in parts
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose data are gone, its data set, and its scores of users with and without times."""
    config, path = hstu_run(tmp_path_factory.mktemp("hstu"))
    dataset = load_dataset(config.data)
    without_data(path)
    variables = sequential_run._variables(config, dataset.num_items, path)
    score = jax.jit(sequential_run._scores(config, dataset.num_items))

    def scored(histories, times):
        batch = {"history": pad_items(histories, 6), "times": pad_items(times, 6)}
        return np.asarray(score(variables, batch))

    return path, dataset, scored


def ranking(scores, history):
    """Items in the order of their scores, without those of the history."""
    return np.argsort(-np.where(np.isin(np.arange(len(scores)), history), -np.inf, scores))


def test_shards_of_a_file_read_the_times_of_known_users_and_of_no_other_row(run, tmp_path):
    parquet = pytest.importorskip("pyarrow").parquet
    path, dataset, scored = run
    histories, times = histories_and_times(dataset, USERS)
    ids = dataset.interactions.items.ids
    # A known user, the history of the next one without a name, and the two others.
    rows = [(USERS[0], ""), ("", "|".join(ids[histories[1]])), (USERS[1], ""), (USERS[2], "")]
    users = tmp_path / "users.csv"
    with users.open("w", newline="") as file:
        csv.writer(file).writerows([("user", "history"), *rows])
    model, out = jaxrec.open(path), tmp_path / "out"
    options = BatchOptions(users=str(users), top=4, shard_users=3)
    assert recommend_all(model, options, out).shards == 2
    frame = parquet.read_table(out).to_pandas()
    histories.insert(1, histories[1])
    times.insert(1, np.full(len(times[1]), -1, np.int32))
    wanted = scored(histories, times)
    # Times change the scores, so that a row that lost its own would be found.
    assert np.abs(wanted[1] - wanted[2]).max() > 1e-4
    for row, history in enumerate(histories):
        best = ranking(wanted[row], history)[:4]
        found = frame.iloc[row * 4 : row * 4 + 4]
        assert found["item"].tolist() == ids[best].tolist()
        np.testing.assert_allclose(found["score"], wanted[row][best], rtol=1e-4)


def test_shards_of_all_users_read_their_times(run, tmp_path):
    parquet = pytest.importorskip("pyarrow").parquet
    path, dataset, scored = run
    recommend_all(jaxrec.open(path), BatchOptions(users="all", top=3, shard_users=16), tmp_path)
    frame = parquet.read_table(tmp_path).to_pandas()
    wanted = scored(*histories_and_times(dataset, USERS))
    for user, scores in zip(USERS, wanted, strict=True):
        history = dataset.interactions.history(int(user[1:]))
        best = ranking(scores, history)[:3]
        found = frame[frame["user"] == user]
        np.testing.assert_allclose(found["score"], scores[best], rtol=1e-4)
        assert found["item"].tolist() == dataset.interactions.items.ids[best].tolist()


@pytest.mark.slow
def test_an_hstu_beside_a_run_opens_with_the_scores_that_were_measured(tmp_path):
    train = TrainConfig(steps=4, batch_size=16, eval_every=4)
    config, path = generative_run(
        tmp_path, hstu=HstuConfig(width=8, depth=1, max_items=6, negatives=3, train=train)
    )
    dataset = load_dataset(config.data)
    score, _ = fit_baseline("hstu", config, dataset, path)
    histories, times = histories_and_times(dataset, USERS)
    batch = {"history": pad_items(histories, 16), "times": pad_items(times, 16)}
    wanted = np.asarray(score(batch))
    timeless = np.asarray(score(batch | {"times": np.full_like(batch["times"], -1)}))
    without_data(path)
    model = jaxrec.open(path, baseline="hstu")
    ids = dataset.interactions.items.ids
    # Named users have the times that the run keeps; histories of nobody have none.
    lists = model.recommend(users=USERS, top=12)
    for row, history in enumerate(histories):
        best = ranking(wanted[row], history)[:12]
        np.testing.assert_allclose(lists.scores[row], wanted[row][best], rtol=1e-4)
        assert lists.items[row].tolist() == ids[best].tolist()
    found = model.score([ids[history] for history in histories], ids)
    np.testing.assert_allclose(found, timeless, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_body_of_hstu_blocks_is_served_with_kept_histories(tmp_path):
    pytest.importorskip("prometheus_client", reason="needs the extra serve")
    shape = dataclasses.replace(tiny_model(depth=2), block="hstu", mlp_width=None, max_length=512)
    _, path = generative_run(tmp_path, model=shape)
    model = jaxrec.open(path)
    ids = model.names.ids.tolist()
    with serving_items(jaxrec.open(path), sizes=(2,), cache=1) as service:
        bodies = [{"histories": {"ann": ids[2 : 5 + more]}, "top": 5} for more in range(4)]
        expected = [model.recommend(**body) for body in bodies]
        with CompileCounter() as counter:
            for body, lists in zip(bodies, expected, strict=True):
                (found,) = ask(service, **body)["lists"]
                assert [x["item"] for x in found["items"]] == lists.items[0].tolist()
                scores = [x["score"] for x in found["items"]]
                np.testing.assert_allclose(scores, lists.scores[0], rtol=1e-4)
        assert counter.count == 0, counter.programs
        assert service.engine._cache.counts.hits == 3
