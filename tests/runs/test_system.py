"""What systems offer, and the error that a user meets where one does not."""

import dataclasses
from typing import ClassVar

import numpy as np
import pytest

from jaxrec.core import ConfigError
from jaxrec.data import leave_one_out
from jaxrec.data.dataset import Dataset
from jaxrec.runs.requests import (
    RecommendRequest,
    known_items,
    recommend_by_scores,
    whole_history,
)
from jaxrec.runs.system import config_class, offered, system_names, system_of
from jaxrec.systems.sasrec import SasrecRunConfig
from jaxrec.systems.tallrec import TallrecConfig
from jaxrec.testing import tiny_interactions

OFFERS = {
    "generative": {"rank", "recommend", "fit_ids", "open_model", "open_adapter"},
    "p5": {"rank", "recommend", "fit_ids", "open_model"},
    "sasrec": {"rank", "recommend"},
    "tallrec": {"recommend", "open_model", "open_adapter"},
    "vqrec": {"rank", "recommend"},
}


@pytest.mark.parametrize("name", system_names())
def test_every_system_trains_evaluates_and_reports_and_says_what_it_lacks(name):
    config = config_class(name)()
    module = system_of(config)
    functions = {"rank", "recommend", "fit_ids", "open_model", "open_adapter"}
    for function in ("train", "evaluate", "report"):
        assert callable(offered(config, function))
    if name in OFFERS:
        assert {function for function in functions if hasattr(module, function)} == OFFERS[name]
    # What is said instead is of a function that is not there.
    assert not {
        function for function in getattr(module, "INSTEAD", {}) if hasattr(module, function)
    }


def test_what_is_not_offered_names_the_systems_that_do_and_what_to_do_instead():
    with pytest.raises(
        ConfigError,
        match=r"tallrec does not offer jaxrec compare; systems that do: generative, p5, sasrec, "
        r"vqrec; TALLRec is measured by its answers",
    ):
        offered(TallrecConfig(), "rank")
    with pytest.raises(
        ConfigError, match=r"sasrec does not offer jaxrec export --to hf; .* train "
    ):
        offered(SasrecRunConfig(), "open_model")


def test_what_is_no_config_is_refused():
    @dataclasses.dataclass(frozen=True)
    class Nowhere:
        system: ClassVar[int] = 3

    for value in (Nowhere(), 3, Nowhere):
        with pytest.raises(ConfigError, match="not the config of a system"):
            system_of(value)
    with pytest.raises(ConfigError, match="no system 'sasrek', did you mean 'sasrec'"):
        config_class("sasrek")
    with pytest.raises(ConfigError, match=r"no system 'some\.where'"):
        config_class("some.where")


@pytest.fixture(scope="module")
def dataset():
    data = tiny_interactions(users=12, items=14)
    return Dataset(data, leave_one_out(data))


def test_the_highest_scores_are_recommended_without_what_the_user_has_seen(dataset):
    user = 5
    name = str(dataset.split.train.user_ids[user])
    history = whole_history(dataset, user)
    own = dataset.interactions.item[dataset.interactions.user == user]
    assert sorted(history.tolist()) == sorted(own.tolist())
    values = np.random.default_rng(0).normal(size=14).astype(np.float32)
    shown = []

    def score(batch):
        shown.append(batch["history"])
        assert batch["user"].tolist() == [user]
        return values[None]

    answer = recommend_by_scores(score, dataset, RecommendRequest(name, 14))
    unseen = [item for item in np.argsort(-values).tolist() if item not in history]
    assert [row.item for row in answer.items] == unseen
    assert [row.score for row in answer.items] == values[unseen].tolist()
    np.testing.assert_array_equal(shown[0][0][-len(history) :], history)
    assert (shown[0][0][: -len(history)] == -1).all()
    labels = dataset.interactions.items.labels()
    assert answer.items[0].title == labels[unseen[0]] and answer.history[-1] == labels[history[-1]]
    seen = recommend_by_scores(score, dataset, RecommendRequest(name, 3, include_seen=True))
    assert [row.item for row in seen.items] == np.argsort(-values)[:3].tolist()


def test_impossible_requests_are_named(dataset):
    with pytest.raises(ConfigError, match=r"--top must be at least 1, got 0"):
        RecommendRequest("u1", 0)
    with pytest.raises(ConfigError, match=r"--top must be at most the 14 items .*, got 15"):
        recommend_by_scores(lambda batch: None, dataset, RecommendRequest("u1", 15))
    first = str(dataset.split.train.user_ids[0])
    with pytest.raises(ConfigError, match=rf"no user 'nobody' in tiny.*users: {first} \.\."):
        known_items(dataset, RecommendRequest("nobody"))
