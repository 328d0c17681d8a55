"""What systems offer, and the error that a user meets where one does not."""

import dataclasses
import inspect
import json
from typing import ClassVar

import numpy as np
import pytest

from jaxrec.core import ConfigError
from jaxrec.data import leave_one_out
from jaxrec.data.dataset import Dataset
from jaxrec.runs.directory import load_run
from jaxrec.runs.evaluation import check_baselines, evaluate_run
from jaxrec.runs.quick import make_quick
from jaxrec.runs.requests import (
    RecommendRequest,
    find_user,
    known_items,
    recommend_by_scores,
    whole_history,
)
from jaxrec.runs.system import System, config_class, offered, short_name, system_names, system_of
from jaxrec.systems.p5 import P5Config
from jaxrec.systems.sasrec import SasrecRunConfig
from jaxrec.systems.tallrec import TallrecConfig
from jaxrec.systems.vqrec import VqRecConfig
from jaxrec.testing import tiny_interactions
from jaxrec.train import TrainConfig

OFFERS = {
    "generative": {
        *("rank", "recommend", "fit_ids", "open_model", "open_adapter", "open_ranker", "add_items"),
    },
    "girl": {"open_model"},
    "glrec": {"open_model", "open_adapter", "open_ranker"},
    "hstu": {"rank", "recommend", "open_ranker"},
    "instructrec": {"recommend", "open_ranker"},
    "p5": {"rank", "recommend", "fit_ids", "open_model", "open_ranker"},
    "rpg": {"rank", "recommend", "fit_ids", "open_ranker"},
    "sasrec": {"rank", "recommend", "open_ranker"},
    "tallrec": {"recommend", "open_model", "open_adapter", "open_ranker"},
    "vqrec": {"rank", "recommend", "open_ranker"},
}


@pytest.mark.parametrize("name", system_names())
def test_every_system_trains_evaluates_and_reports_and_says_what_it_lacks(name):
    config = config_class(name)()
    module = system_of(config)
    functions = {"rank", "recommend", "fit_ids", "open_model", "open_adapter"}
    functions |= {"open_ranker", "add_items"}
    for function in ("train", "evaluate", "report"):
        assert callable(offered(config, function))
    if name in OFFERS:
        assert {function for function in functions if hasattr(module, function)} == OFFERS[name]
    # Callers pass what the protocol names.
    for function, wanted in inspect.getmembers(System, inspect.isfunction):
        if not function.startswith("_") and hasattr(module, function):
            parameters = list(inspect.signature(wanted).parameters.values())[1:]
            named = {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}
            signature = inspect.signature(getattr(module, function))
            signature.bind(*(p for p in parameters if p.name not in named), **named)
    # What is said instead is of a function that is not there.
    assert not {
        function for function in getattr(module, "INSTEAD", {}) if hasattr(module, function)
    }


@pytest.mark.parametrize("name", system_names())
def test_every_system_opens_or_says_what_it_does_instead(name):
    config = config_class(name)()
    if hasattr(system_of(config), "open_ranker"):
        return
    able = "generative, glrec, hstu, instructrec, p5, rpg, sasrec, tallrec, vqrec"
    with pytest.raises(
        ConfigError, match=rf"{name} does not offer jaxrec.open; systems that do: {able}; \w+ \w+"
    ):
        offered(config, "open_ranker")


def test_what_is_not_offered_names_the_systems_that_do_and_what_to_do_instead():
    with pytest.raises(
        ConfigError,
        match=r"tallrec does not offer jaxrec compare; systems that do: generative, hstu, p5, rpg, "
        r"sasrec, vqrec; TALLRec is measured by its answers",
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
    with pytest.raises(
        ConfigError, match=rf"no user 'nobody' in tiny; it has 12 users, .* {first}"
    ):
        known_items(dataset, RecommendRequest("nobody"))


@pytest.mark.parametrize(
    ("user", "said"),
    [
        # Every number is near another one.
        ("99999", "; it has 943 users, such as 1, 472, 943 "),
        ("9411", "; it has 943"),
        ("", "; it has 943"),
    ],
)
def test_an_unknown_number_of_a_user_suggests_no_other_number(user, said):
    with pytest.raises(ConfigError) as error:
        find_user(np.arange(1, 944), user, "ml-100k")
    assert f"no user {user!r} in ml-100k{said}" in str(error.value)
    assert "did you mean" not in str(error.value) and "jaxrec recommend RUN" in str(error.value)


def test_an_unknown_name_of_a_user_suggests_one_that_is_a_slip_away():
    users = np.array(["A2SUAM1J3GNN3B", "A3SGXH7AUHU8GW", "bob"])
    with pytest.raises(
        ConfigError, match=r"'A2SUAM1J3GNN3' in beauty, did you mean 'A2SUAM1J3GNN3B'\? It"
    ):
        find_user(users, "A2SUAM1J3GNN3", "beauty")
    with pytest.raises(ConfigError, match=r"no user 'b' in beauty; it has 3 users"):
        find_user(users, "b", "beauty")


def test_unread_settings_are_refused_left_alone_by_quick_runs_and_dropped_from_old_ones(tmp_path):
    for kind, model, instead in (
        (SasrecRunConfig, {"train": TrainConfig(lr=0.5)}, "model.train .* sasrec; set train"),
        (VqRecConfig, {"train": TrainConfig(lr=0.5)}, "model.train .* vqrec; set pretrain"),
        (VqRecConfig, {"objective": "bpr"}, "model.objective .* vqrec; every stage"),
    ):
        with pytest.raises(ConfigError, match=instead):
            kind(model=dataclasses.replace(kind().model, **model))
        # A quick variant has fewer steps wherever they are read.
        quick = make_quick(kind())
        assert quick.train.steps == 100 and quick.model == kind().model
        settings = {"system": short_name(kind())} | dataclasses.asdict(kind())
        settings["model"] |= {"train": {"steps": 100, "lr": 0.5}}
        (tmp_path / "config.json").write_text(json.dumps(settings))
        assert load_run(tmp_path) == kind()


@pytest.mark.parametrize("name", sorted(name for name, able in OFFERS.items() if "rank" in able))
def test_every_system_that_ranks_takes_baselines_that_its_config_does_not_name(name):
    config = config_class(name)()
    check_baselines(config, ["als", "markov"])
    with pytest.raises(ConfigError, match="'markof'"):
        check_baselines(config, ["markof"])


def test_a_run_without_a_ranking_takes_none(tmp_path):
    config = P5Config(tasks=("rating",), rows=(128,))
    with pytest.raises(ConfigError, match=r"ranks no catalogue, .* got markov; leave them out"):
        evaluate_run(config, tmp_path, ["markov"])
    with pytest.raises(ConfigError, match=r"TrainConfig has no baselines .* got markov"):
        check_baselines(TrainConfig(), ["markov"])
