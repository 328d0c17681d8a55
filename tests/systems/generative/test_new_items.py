"""Items that are added after the training get free IDs, are kept by the run, and are offered."""

import dataclasses

import numpy as np
import pytest

from jaxrec.cli.main import main
from jaxrec.core import ConfigError, DataError
from jaxrec.data import load_dataset
from jaxrec.runs import load_codes
from jaxrec.systems.generative import (
    NewItem,
    add_items,
    added_items,
    load_config,
    recommender as generative,
    with_new_items,
)
from jaxrec.testing import random_params, tiny_config, write_tiny_csv


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return write_tiny_csv(tmp_path_factory.mktemp("new"))


def make_run(home, directory, **ids):
    """A run with IDs and without a trained model, which is all that adding items needs."""
    config = tiny_config(home)
    config = dataclasses.replace(config, ids=dataclasses.replace(config.ids, **ids))
    generative.open_run(config, load_dataset(config.data), directory)
    return directory


GIVEN = {
    "pq": {"texts": {"title": "Film 007", "genres": "Drama"}},
    "rq": {"texts": {"title": "Film 007"}},
    "svd": {"users": ("u003", "u004")},
    "collaborative": {"met": {"i004": 3.0, "i005": 1.0}},
}
SIZES = {"collaborative": {"clusters": 4, "leaf": 20}}


@pytest.mark.parametrize("scheme", GIVEN)
def test_new_items_get_free_ids_that_the_run_keeps(home, tmp_path, scheme):
    run = make_run(home, tmp_path / "run", scheme=scheme, **SIZES.get(scheme, {}))
    old = load_codes(run).codes.tolist()
    first = add_items(run, [NewItem(item="n0", **GIVEN[scheme])])
    both = add_items(
        run, [NewItem(item="n1", **GIVEN[scheme]), NewItem(item="n2", **GIVEN[scheme])]
    )
    assert added_items(run) == both and both[:1] == first
    assert [one.item for one in both] == ["n0", "n1", "n2"]
    rows = [list(one.code) for one in both]
    assert all(row not in old for row in rows)
    assert len({tuple(row) for row in rows}) == 3
    # The IDs of the training stay as they are.
    assert load_codes(run).codes.tolist() == old


def test_what_cannot_be_added_is_refused_and_leaves_the_run_as_it_was(home, tmp_path):
    run = make_run(home, tmp_path / "run")
    film = NewItem(item="n0", texts={"title": "Film 100"})
    for items, words in (
        ([dataclasses.replace(film, item="i004")], "item 'i004' already exists"),
        ([film, film], "item 'n0' already exists"),
        ([NewItem(item="n1")], "new item 'n1' has no texts, and IDs of scheme pq need them"),
        ([NewItem(item="n1", texts={"titel": "x"})], "no 'titel' .* did you mean 'title'"),
    ):
        with pytest.raises(ConfigError, match=words):
            add_items(run, items)
    assert added_items(run) == []
    random = make_run(home, tmp_path / "random", scheme="random")
    with pytest.raises(ConfigError, match="'random' IDs have no codebooks"):
        add_items(random, [film])
    svd = make_run(home, tmp_path / "svd", scheme="svd")
    with pytest.raises(ConfigError, match="no 'u03' for its users, did you mean 'u003'"):
        add_items(svd, [NewItem(item="n0", users=("u03",))])
    (run / "ids" / "new_items.json").write_text('[{"item": "n0"}]')
    with pytest.raises(DataError, match=r"new_items\.json is not what add_items wrote"):
        added_items(run)


def test_a_recommender_with_new_items_reaches_them(home, tmp_path, monkeypatch, capsys):
    run = make_run(home, tmp_path / "run")
    words = {"genres": "Drama"}
    films = [NewItem(item=f"n{n}", texts={"title": f"New {n}"} | words) for n in range(10)]
    added = add_items(run, films)
    settings, codes = load_config(run), load_codes(run)
    params = random_params(generative.make_model(settings, codes))
    plain = generative.make_recommender(settings, codes, params)
    wide = with_new_items(plain, added)
    assert with_new_items(plain, []) is plain
    history, seen = [np.array([3, 4, 5])], [np.arange(30)]
    # With all old items excluded, the ten beams hold exactly the ten new ones.
    items, scores = wide.recommend(history, seen)
    assert sorted(items[0].tolist()) == list(range(30, 40))
    assert np.isfinite(scores).all()
    monkeypatch.setattr(generative, "load_recommender", lambda *_: plain)
    assert main(["recommend", str(run), "--user", "u003"]) == 0
    shown = capsys.readouterr().out
    assert any(one.label in shown for one in added)
