"""The recommendation service answers what `jaxrec.open` recommends, and compiles nothing for it."""

import threading

import numpy as np
import pytest

import jaxrec
from jaxrec.core import CompileCounter
from jaxrec.serve import BatchingOptions

from .items import ask, send, serving_items
from .runs import sasrec_run

pytest.importorskip("prometheus_client", reason="needs the extra serve")
# Quick tests of a model that scores all items at once are those of hostile requests.
KINDS = ("generative", pytest.param("sasrec", marks=pytest.mark.slow))


@pytest.fixture(scope="module")
def sasrec(tmp_path_factory):
    run = sasrec_run(tmp_path_factory.mktemp("sasrec"))[1]
    with serving_items(jaxrec.open(run)) as service:
        yield service, jaxrec.open(run)


@pytest.fixture(scope="module")
def generative(item_run):
    return jaxrec.open(item_run)


@pytest.fixture(params=KINDS)
def served(request):
    """A run that is served, and the same run in use without a service."""
    if request.param == "sasrec":
        return request.getfixturevalue("sasrec")
    return request.getfixturevalue("item_service"), request.getfixturevalue("generative")


def same(answer, lists):
    """Check an answer against the lists of `recommend`."""
    assert len(answer["lists"]) == len(lists)
    for row, found in enumerate(answer["lists"]):
        count = int((lists.numbers[row] >= 0).sum())
        assert [x["item"] for x in found["items"]] == lists.items[row, :count].tolist()
        assert [x["title"] for x in found["items"]] == lists.titles[row, :count].tolist()
        scores = [x["score"] for x in found["items"]]
        np.testing.assert_allclose(scores, lists.scores[row, :count], rtol=1e-4)
    assert answer["meaning"] == lists.meaning


def requests(model):
    """Requests of every form: their bodies, which are the arguments of `recommend` too."""
    ids = model.names.ids.tolist()
    yield {"users": ["u003", "u017"]}
    yield {"histories": [ids[:3], ids[:1], [], ids[4:25]], "top": 4}
    yield {"histories": {"ann": ids[2:5]}, "top": 1}
    yield {"histories": [ids[3:8]] * 5, "seen": True}
    yield {"histories": [ids[3:5], ids[:2]], "allowed": ids[:6], "top": 5}
    yield {"histories": [ids[3:5], ids[:2]], "allowed": [ids[:6], ids[9:11]], "exclude": ids[4:6]}
    # More items than a padded list holds become a mask.
    yield {"users": ["u000"], "exclude": ids[:18], "seen": True}
    # Nothing is left, which is an empty list.
    yield {"users": ["u001"], "allowed": ids[:2], "exclude": ids[:2], "top": 3}
    yield {"histories": [[model.names.titles[7]]] if model.names.titles[7] else [ids[7:8]]}


def test_answers_are_those_of_the_library_and_nothing_is_compiled(served):
    service, model = served
    expected = [(body, model.recommend(**body)) for body in requests(model)]
    with CompileCounter() as counter:
        for body, lists in expected:
            same(ask(service, **body), lists)
    assert counter.count == 0, counter.programs


def test_many_clients_share_batches_and_each_gets_its_own_answer(served):
    service, model = served
    users = [f"u{number:03d}" for number in range(24)]
    lists = model.recommend(users=users, top=5)
    answers = {}

    def client(first):
        for user in users[first::6]:
            answers[user] = ask(service, users=[user], top=5)["lists"][0]

    with CompileCounter() as counter:
        threads = [threading.Thread(target=client, args=(first,)) for first in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert counter.count == 0, counter.programs
    for row, user in enumerate(users):
        assert answers[user]["user"] == user
        assert [x["item"] for x in answers[user]["items"]] == lists.items[row].tolist()


def test_explanations_name_their_user_and_are_not_kept(served, monkeypatch):
    service, model = served
    rows, submit = [], service.batcher.submit
    monkeypatch.setattr(
        service.batcher, "submit", lambda given: (rows.extend(given), submit(given))
    )
    body = {"history": model.names.ids[[3, 9]].tolist(), "item": str(model.names.ids[12])}
    for user in (None, "ann", 7):
        assert send(service, "/v1/explain", body | {"user": user})[0] == 200
    assert [row.user for row in rows] == [""] * 3 + ["ann"] * 3 + ["7"] * 3
    # A history without one of its items must not take the place of a user's own.
    assert {row.key for row in rows} == {None}


def test_explanations_are_those_of_the_library(served):
    service, model = served
    history, item = model.names.ids[[3, 9, 4]].tolist(), model.names.ids[12]
    expected = model.explain(history, item)
    with CompileCounter() as counter:
        status, answer = send(service, "/v1/explain", {"history": history, "item": item})
    assert status == 200 and counter.count == 0
    found = {one["item"]: one["fall"] for one in answer["history"]}
    wanted = dict(zip(expected.items[0].tolist(), expected.scores[0].tolist(), strict=True))
    assert found.keys() == wanted.keys()
    np.testing.assert_allclose([found[k] for k in wanted], [*wanted.values()], atol=2e-5)
    falls = [one["fall"] for one in answer["history"]]
    assert falls == sorted(falls, reverse=True)


def test_logs_have_no_histories_and_metrics_count(served):
    service, model = served
    item = str(model.names.ids[5])
    ask(service, histories=[[item]])
    send(service, f"/v1/items?query={item}", method="GET")
    assert item not in str(service.log)
    line = next(line for line in service.log if line["route"] == "/v1/recommend")
    assert {"request", "status", "seconds", "rows", "catalogue"} <= set(line)


def test_draining_finishes_what_was_begun(served):
    service, model = served
    answers, begun = [], threading.Barrier(7)
    slow = BatchingOptions(wait=0.3)
    with serving_items(model, engine=service.engine, batching=slow) as ending:

        def client():
            begun.wait()
            answers.append(ask(ending, users=["u003"], top=2))

        threads = [threading.Thread(target=client) for _ in range(6)]
        for thread in threads:
            thread.start()
        begun.wait()
        while not ending.batcher.waiting:
            pass
        ending.server.end()
        for thread in threads:
            thread.join(30)
    assert len(answers) == 6
    for answer in answers:
        same(answer, model.recommend(users=["u003"], top=2))
