"""Every baseline by its name in a config, measured as a run measures it."""

import dataclasses

import numpy as np
import pytest

from jaxrec.baselines import pairwise
from jaxrec.core import ConfigError
from jaxrec.systems.comparison import batches, measure_baseline
from jaxrec.systems.config import COUNTING, TRAINED, EvalConfig
from jaxrec.systems.dataset import load_dataset
from jaxrec.testing import tiny_config, write_tiny_csv

SMALL = {
    "gru4rec": {"width": 8},
    "caser": {"width": 8, "image": 4},
    "bert4rec": {"width": 8},
    "dros": {"width": 8},
    "bpr": {"width": 8},
    "neumf": {"width": 4},
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


def test_users_of_a_batch_are_rows_of_the_training_users(tiny):
    _, dataset = tiny
    train = dataset.split.train.sequences()
    seen = []
    for batch in batches(dataset, "test", True, size=16):
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
        ConfigError, match=r"no baseline 'gru' in eval\.baselines; known: .*gru4rec"
    ):
        EvalConfig(baselines=("gru",))
