"""Swaps of the catalogue: whole, at once, refused if bad, and nothing is compiled."""

import dataclasses
import itertools
import json
import shutil
import threading

import jax
import numpy as np
import pytest

import jaxrec
from jaxrec.core import CompileCounter
from jaxrec.runs import Changes, write_changes
from jaxrec.serve import ServedCatalogue

from .conftest import ADMIN_KEY
from .items import ask, refused, send

pytest.importorskip("prometheus_client", reason="needs the extra serve")


@pytest.fixture(scope="module")
def run(item_run, tmp_path_factory):
    """The directory of a run, and rows of three new items with free IDs."""
    directory = tmp_path_factory.mktemp("swap") / "run"
    shutil.copytree(item_run, directory)
    ranker = jaxrec.open(directory).ranker
    taken = set(map(tuple, ranker.codes.tolist()))
    every = itertools.product(*map(range, ranker.recommender.codes.sizes))
    free = [code for code in every if code not in taken][:3]
    rows = [
        {"item": f"new{n}", "label": f"New {n}", "code": list(code)} for n, code in enumerate(free)
    ]
    return directory, rows


@pytest.fixture
def served(swapping_service):
    return swapping_service


def swap(service, changes, name="next.json"):
    content = changes if isinstance(changes, bytes) else json.dumps(changes).encode()
    (service.files / name).write_bytes(content)
    return send(service, "/v1/catalogue", {"file": name}, key=ADMIN_KEY, method="PUT")


def opened(run, changes):
    """The run with changes in its own files, opened by the library: the referee."""
    directory, _ = run
    write_changes(directory, Changes(tuple(changes.get("added", ())), tuple(changes["removed"])))
    try:
        return jaxrec.open(directory)
    finally:
        write_changes(directory, Changes())


def items(answer):
    return [[x["item"] for x in row["items"]] for row in answer["lists"]]


def expected(model, histories, **options):
    lists = model.recommend(histories=histories, **options)
    return [[x for x in row if x] for row in lists.items.tolist()]


def test_a_swap_answers_as_the_library_and_compiles_nothing(run, served):
    histories = [["i003", "i004"], ["i011"], []]
    changes = {"added": run[1], "removed": ["i007", "i001"]}
    grown, few = opened(run, changes), opened(run, {"removed": ["i002"]})
    wanted = expected(grown, histories), expected(few, histories)
    assert wanted[0] != wanted[1]
    after_new = expected(grown, [["new1", "i004"]], allowed=["new0", "new2", "i005"], top=3)
    with CompileCounter() as counter:
        status, facts = swap(served, changes)
        assert status == 200 and (facts["added"], facts["removed"]) == (3, 2)
        answer = ask(served, histories=histories)
        assert items(answer) == wanted[0] and answer["catalogue"] == facts["version"]
        allowed = ["new0", "new2", "i005"]
        assert items(ask(served, histories=[["new1", "i004"]], allowed=allowed, top=3)) == after_new
        refused(served, {"histories": [["i003"]], "allowed": ["i007"]}, "no items left")
        status, later = swap(served, {"removed": ["i002"]})
        assert status == 200 and later["before"] == facts["version"]
        assert items(ask(served, histories=histories)) == wanted[1]
        refused(served, {"histories": [["new1"]]}, "no item 'new1'")
    assert counter.count == 0, counter.programs


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", ["not JSON"]),
        (b"\xff", ["not UTF-8"]),
        ({"items": []}, ["'items'", "only added and removed"]),
        ({"removed": ["nothing"]}, ["no item 'nothing'"]),
        ({"removed": "i001"}, ["list of IDs"]),
        ({"removed": [f"i{n:03d}" for n in range(30)]}, ["no item would be left"]),
        ({"added": [{"item": "a"}]}, ["row 0 must have item and label"]),
        ({"added": [{"item": "a", "label": "A", "code": [0.5]}]}, ["whole numbers"]),
        ({"added": [{"item": "a", "label": "A", "code": [0]}]}, ["codes"]),
        ({"added": [{"item": "a", "label": "A", "code": [10**6, 0]}]}, ["10"]),
        ({"added": [{"item": "a", "label": "A", "code": [0, 0], "x": 1}]}, ["not what add_items"]),
    ],
)
def test_a_bad_file_changes_nothing(run, served, content, words):
    if isinstance(content, dict) and len(content.get("removed", ())) == 30:
        content = {"removed": served.engine.catalogue.model.names.ids.tolist()}
    before, asked = served.engine.catalogue, {"histories": [["i003"]]}
    lists = ask(served, **asked)["lists"]
    status, answer = swap(served, content)
    assert status == 400
    assert all(word in answer["error"]["message"] for word in words), answer
    assert served.engine.catalogue is before
    assert ask(served, **asked)["lists"] == lists


def test_ids_that_are_taken_and_too_many_items_are_refused(run, served):
    directory, rows = run
    model = jaxrec.open(directory)
    twice = [rows[0], rows[1] | {"code": rows[0]["code"]}]
    taken = [rows[0] | {"code": model.ranker.codes[0].tolist()}]
    known = [rows[0] | {"item": "i000"}]
    before = served.engine.catalogue
    for added in (twice, taken, known):
        assert swap(served, {"added": added})[0] == 400
    every = itertools.product(*map(range, model.ranker.recommender.codes.sizes))
    free = [c for c in every if c not in set(map(tuple, model.ranker.codes.tolist()))]
    many = [{"item": f"m{n}", "label": "", "code": list(code)} for n, code in enumerate(free[:40])]
    if len(many) == 40:
        status, answer = swap(served, {"added": many})
        assert status == 400 and "--room" in answer["error"]["message"]
    assert served.engine.catalogue is before


def test_a_version_with_bad_scores_is_rolled_back(served, monkeypatch):
    before = served.engine.catalogue
    changed = ServedCatalogue.changed

    def spoiled(self, content):
        made = changed(self, content)
        rankers = {}
        for size, ranker in made.rankers.items():
            base = ranker.recommender
            params = jax.tree.map(lambda x: np.full_like(x, np.nan), base.params)
            bad = dataclasses.replace(base, params=params)
            rankers[size] = dataclasses.replace(ranker, recommender=bad)
        return dataclasses.replace(made, rankers=rankers)

    monkeypatch.setattr(ServedCatalogue, "changed", spoiled)
    status, answer = swap(served, {"removed": ["i004"]})
    assert status == 400 and "number" in answer["error"]["message"], answer
    assert served.engine.catalogue is before


def test_requests_between_swaps_are_never_mixed(run, served):
    """Every answer is that of the version that it names, whole."""
    histories = [["i003", "i004"], ["i011"]]
    versions = [{"added": run[1], "removed": ["i007"]}, {"removed": ["i002"]}, {"removed": []}]
    wanted = {}
    for changes in versions:
        name = swap(served, changes)[1]["version"]
        wanted[name] = expected(opened(run, changes), histories)
    assert len(wanted) == 3
    found, ended = [], threading.Event()

    def client():
        while not ended.is_set():
            found.append(ask(served, histories=histories))

    threads = [threading.Thread(target=client) for _ in range(3)]
    for thread in threads:
        thread.start()
    for changes in versions * 3:
        assert swap(served, changes)[0] == 200
    ended.set()
    for thread in threads:
        thread.join()
    assert found and all(items(answer) == wanted[answer["catalogue"]] for answer in found)
