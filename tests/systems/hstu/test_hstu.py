"""HSTU as a baseline and as a system: times on their way from the data to the scores."""

import dataclasses

import jax
import numpy as np
import pytest

import jaxrec
from jaxrec.baselines import HstuConfig, sequential
from jaxrec.baselines.item_table import history_times
from jaxrec.core import ConfigError
from jaxrec.data.dataset import DataConfig, load_dataset
from jaxrec.runs import BaselinesConfig, Options, RecommendRequest, sequential_run, whole_history
from jaxrec.runs.protocol import ranking_batches
from jaxrec.systems.hstu import run as hstu
from jaxrec.systems.hstu.config import HstuRunConfig
from jaxrec.testing import write_tiny_csv
from jaxrec.train import TrainConfig


def data_with_times(tmp_path, shift=0):
    """Two kinds of users who met the same items in the same order, at different times."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(12):
        time = 1_000_000_000 + shift
        for item in rng.permutation(8)[:6]:
            time += int(10 ** rng.uniform(0, 7))
            rows.append(f"u{user},i{item},{time}")
    path = tmp_path / f"clicks{shift}.csv"
    path.write_text("user,item,timestamp\n" + "\n".join(rows) + "\n")
    return DataConfig(from_file=str(path), time_column="timestamp", min_count=0)


def config_of(data, **more):
    return HstuRunConfig(
        data=data,
        model=HstuConfig(width=8, depth=1, max_items=4, negatives=3, **more),
        train=TrainConfig(steps=3, batch_size=4, eval_every=3, warmup_steps=0),
        eval=BaselinesConfig(ks=(10,), baselines=("markov",), resamples=10),
    )


def test_times_of_a_batch_are_seconds_since_the_first_item(tmp_path):
    dataset = load_dataset(data_with_times(tmp_path))
    split = dataset.split
    for stage, more in (("valid", 0), ("test", 1)):
        times = split.times(stage)
        for batch in ranking_batches(dataset, stage, False, size=5):
            for history, row, user in zip(
                batch["history"], batch["times"], batch["user"], strict=True
            ):
                count = (history >= 0).sum()
                train = split.train.time[split.train.offsets[user] : split.train.offsets[user + 1]]
                whole = np.append(train, split.held_times[user, :more])
                np.testing.assert_array_equal(row[len(row) - count :], whole - whole[0])
                np.testing.assert_array_equal(times[user], whole - whole[0])
                assert (row[: len(row) - count] == -1).all()
    assert (split.held_times[:, 1] >= split.held_times[:, 0]).all()


def test_a_run_reads_times_and_forgets_when_all_of_it_happened(tmp_path):
    data = data_with_times(tmp_path)
    config = config_of(data)
    hstu.train(config, tmp_path / "run", Options())
    report = hstu.evaluate(config, tmp_path / "run", baselines=("markov",))
    assert set(report["rows"]) == {"model", "markov"}
    dataset = load_dataset(data)
    variables = sequential_run._variables(config, dataset.num_items, tmp_path / "run")
    # Three steps hardly move the biases, so that they are made visible.
    layer = variables["params"]["body"]["layer_0"]
    layer["time"] = jax.random.normal(jax.random.key(0), layer["time"].shape) * 3
    score = jax.jit(sequential_run._scores(config, dataset.num_items))
    batch = next(ranking_batches(dataset, "test", False))
    found = np.asarray(score(variables, batch))
    later = next(ranking_batches(load_dataset(data_with_times(tmp_path, 5000)), "test", False))
    np.testing.assert_array_equal(found, score(variables, later))
    stretched = batch | {"times": batch["times"] * 50}
    assert np.abs(found - np.asarray(score(variables, stretched))).max() > 1e-4
    unknown = {"history": batch["history"]}
    assert np.abs(found - np.asarray(score(variables, unknown))).max() > 1e-4


def test_a_window_of_training_has_the_times_of_its_items(tmp_path):
    dataset = load_dataset(data_with_times(tmp_path))
    model = config_of(DataConfig()).model
    config = dataclasses.replace(model, max_items=3, buckets=1)
    problem = sequential._problem(
        config,
        dataset.split.train.sequences(),
        dataset.num_items,
        None,
        None,
        False,
        dataset.train_times,
    )
    assert set(problem.shapes[0]) == {"tokens", "times"}
    train = dataset.split.train
    known = {}
    for user in range(dataset.num_users):
        part = slice(train.offsets[user], train.offsets[user + 1])
        for first in range(len(train.item[part]) - 2):
            window = slice(first, first + 3)
            key = tuple((train.item[part][window] + 2).tolist())
            known.setdefault(key, []).append(
                (train.time[part][window] - train.time[part][first]).tolist()
            )
    batch = next(iter(problem.batches))
    for tokens, times in zip(batch["tokens"], batch["times"], strict=True):
        assert times[0] == 0
        assert times[1:].tolist() in known[tuple(tokens[1:].tolist())]


def test_data_that_only_tell_the_order_are_refused_or_read_without_gaps(tmp_path):
    path = tmp_path / "order.csv"
    rows = "".join(f"u{user},i{(user + n) % 9}\n" for user in range(8) for n in range(5))
    path.write_text("user,item\n" + rows)
    data = DataConfig(from_file=str(path), min_count=0)
    with pytest.raises(ConfigError, match=r"time_gaps needs the times .* set time_gaps to false"):
        hstu.train(config_of(data), tmp_path / "run", Options(dry=True))
    hstu.train(config_of(data, time_gaps=False), tmp_path / "run", Options(dry=True))
    assert load_dataset(data).split.times("test") is None


def test_the_token_before_the_first_item_has_its_time_as_in_training():
    times = np.array([[-1, -1, 0, 7], [0, 3, 4, 9], [-1, -1, -1, -1]], np.int32)
    assert history_times(times, 4)[:, -5:].tolist() == [
        [-1, -1, 0, 0, 7],
        [0, 0, 3, 4, 9],
        [-1, -1, -1, -1, -1],
    ]
    assert history_times(times, 2).tolist() == [[0, 0, 7], [4, 4, 9], [-1, -1, -1]]


@pytest.mark.slow
def test_open_recommends_what_the_run_recommends(tmp_path):
    data = DataConfig(
        from_file=str(write_tiny_csv(tmp_path)),
        user_column="user_id",
        item_column="movie_id",
        time_column="when",
        min_count=0,
    )
    config = config_of(data)
    hstu.train(config, tmp_path / "run", Options())
    dataset = load_dataset(data)
    user = str(dataset.split.train.user_ids[4])
    answer = hstu.recommend(config, tmp_path / "run", RecommendRequest(user, 5))
    opened = jaxrec.open(tmp_path / "run").recommend(users=[user], top=5)
    assert opened.numbers[0].tolist() == [row.item for row in answer.items]
    assert len(answer.history) == len(whole_history(dataset, 4))
    # Both read times: without them, scores differ.
    known = jaxrec.open(tmp_path / "run")
    found = known.recommend(users=[user], top=5).scores
    ids = [dataset.interactions.items.ids[item] for item in whole_history(dataset, 4)]
    assert np.abs(found - known.recommend(histories=[ids], top=5).scores).max() > 1e-6
    np.testing.assert_allclose(found[0], [row.score for row in answer.items], rtol=1e-5)
