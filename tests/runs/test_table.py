"""One table of systems: which rows it has, and how its paired tests are corrected."""

import dataclasses

import numpy as np
import pytest

from jaxrec.eval import holm, paired_bootstrap
from jaxrec.runs import Measured, baseline_table
from jaxrec.testing import tiny_config

USERS = 60


def _measured(rate, seed):
    hits = (np.random.default_rng(seed).random(USERS) < rate).astype(float)
    return Measured(
        metrics={"hr@10": hits, "ndcg@10": hits / 2},
        parameters=10,
        fit_seconds=1.0,
        test_seconds=0.5,
        items=np.zeros((USERS, 10), np.int32),
    )


@pytest.fixture(scope="module")
def systems():
    rates = {"first": 0.3, "model": 0.5, "second": 0.4, "third": 0.35}
    return {name: _measured(rate, seed) for seed, (name, rate) in enumerate(rates.items())}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    config = tiny_config(tmp_path_factory.mktemp("table") / "no.csv")
    evaluation = dataclasses.replace(config.eval, resamples=200)
    return dataclasses.replace(config, eval=evaluation)


def test_the_model_is_tested_against_every_other_system_on_the_same_users(systems, config):
    comparisons = baseline_table(systems, config)["comparisons"]
    assert [each["baseline"] for each in comparisons] == ["first", "second", "third"]
    for each in comparisons:
        mine, other = (systems[name].metrics["ndcg@10"] for name in ("model", each["baseline"]))
        test = paired_bootstrap(mine, other, resamples=200, seed=config.train.seed)
        assert (each["metric"], each["difference"], each["p"]) == ("ndcg@10", *test[::3])
        assert each["interval"] == [test.low, test.high]


def test_p_values_are_corrected_for_the_number_of_tests(systems, config):
    comparisons = baseline_table(systems, config)["comparisons"]
    raw = [each["p"] for each in comparisons]
    adjusted = [each["p_holm"] for each in comparisons]
    assert adjusted == holm(raw).tolist()
    # The smallest of three values is multiplied by three.
    assert min(adjusted) == pytest.approx(3 * min(raw))


def test_rows_are_means_over_users(systems, config):
    rows = baseline_table(systems, config)["rows"]
    assert list(rows) == list(systems)
    for name, row in rows.items():
        hits = systems[name].metrics["hr@10"]
        assert row["metrics"]["hr@10"] == hits.mean()
        low, high = row["intervals"]["hr@10"]
        assert low < hits.mean() < high
