"""A run whose parameters are not numbers is named when it is opened, in every way of opening."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrec
from jaxrec.core import DataError, DivergedError
from jaxrec.runs import RecommendRequest, offered
from jaxrec.train import Checkpoints
from jaxrec.train.checksums import check

from .runs import generative_run, sasrec_run

MAKERS = {"generative": generative_run, "sasrec": sasrec_run}


@pytest.fixture
def unchecked(monkeypatch):
    """Let the next checkpoint hold a NaN, which `Checkpoints.save` refuses otherwise."""
    save = Checkpoints.save

    def with_nan(self, step, state, record, score=None, checked=None):
        leaves, tree = jax.tree.flatten(state)
        place = next(n for n, leaf in enumerate(leaves) if leaf.ndim and leaf.dtype == jnp.float32)
        leaves[place] = leaves[place].at[(0,) * leaves[place].ndim].set(jnp.nan)
        state = jax.tree.unflatten(tree, leaves)
        clean = dataclasses.replace(check(state), not_finite=[])
        save(self, step, state, record, score, clean)

    monkeypatch.setattr(Checkpoints, "save", with_nan)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.variants(1)
def test_every_way_of_opening_names_the_array_and_the_file(kind, tmp_path, unchecked):
    config, run = MAKERS[kind](tmp_path)
    request = RecommendRequest("u003", 5)
    ways = [
        lambda: jaxrec.open(run),  # `jaxrec serve` and `jaxrec recommend --users` open this way
        lambda: offered(config, "recommend")(config, run, request),
        lambda: offered(config, "rank")(config, run),
        lambda: offered(config, "evaluate")(config, run, baselines=()),
    ]
    words = re.escape(f"{run / 'checkpoints' / '1'} holds infinities or NaN in ")
    for way in ways:
        with pytest.raises(DivergedError, match=words + r"\S+ \(1 of .* train the run again"):
            way()


def test_lists_without_an_item_are_refused_if_one_could_have_been_found(item_run):
    model = jaxrec.open(item_run)
    base = model.ranker.recommender
    # Whatever makes log-probabilities NaN on the way, such as an overflow, ends here.
    bad = dataclasses.replace(base, params=jax.tree.map(lambda x: x * np.nan, base.params))
    model.ranker = dataclasses.replace(model.ranker, recommender=bad)
    with pytest.raises(DataError, match=r"found none of 29 items .* row 0, because .* \(NaN\)"):
        model.recommend(histories=[["i001"]])
    every = model.names.ids.tolist()
    assert (model.recommend(histories=[["i001"]], exclude=every).numbers == -1).all()
