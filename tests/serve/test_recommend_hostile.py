"""Hostile requests for recommendations: a message each, and no effect on others."""

import json

import pytest

from jaxrec.core import JaxrecError
from jaxrec.serve import (
    RecommendEngine,
    RecommendShapes,
    ServedCatalogue,
    as_catalogue_error,
    read_keys,
)
from jaxrec.testing import four_films

from .items import ask, refused, send, serving_items

pytest.importorskip("prometheus_client", reason="needs the extra serve")
GOOD = {"histories": [["7"]], "top": 2}
ANSWER = [{"item": "9", "title": "Heat"}, {"item": "50", "title": "Brazil"}]


@pytest.fixture(scope="module")
def films():
    with serving_items(four_films()) as service:
        yield service


@pytest.fixture(autouse=True)
def others_are_served(films):
    """After every hostile request a good one gets the same answer."""
    yield
    found = ask(films, **GOOD)["lists"][0]["items"]
    assert [{"item": x["item"], "title": x["title"]} for x in found] == ANSWER
    assert films.batcher.failure is None


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({}, "users", ["got none"]),
        ({"users": ["ann"], "histories": [["7"]]}, "users", ["got both"]),
        ({"users": "ann"}, "users", ["a list of IDs, got 'ann'"]),
        ({"users": []}, "users", ["1 to 256", "got 0"]),
        ({"users": ["ann"] * 257}, "users", ["257", "at most 256"]),
        ({"users": ["anna"]}, None, ["no user 'anna'"]),
        ({"users": ["../../etc/passwd"]}, None, ["no user '../../etc/passwd'"]),
        ({"users": [None]}, "users", ["got None"]),
        ({"users": [True]}, "users", ["got True"]),
        ({"users": [1.5]}, "users", ["got 1.5"]),
        ({"users": [2**70]}, "users", ["whole number"]),
        ({"users": [""]}, "users", ["1 to 500 characters"]),
        ({"users": ["x" * 501]}, "users", ["1 to 500 characters"]),
        ({"histories": ["7"]}, "histories", ["row 0", "got '7'"]),
        ({"histories": [["Haet"]]}, None, ["no item 'Haet'", "did you mean 'Heat'"]),
        ({"histories": [["<script>alert(1)</script>"]]}, None, ["no item"]),
        ({"histories": [["\ud800"]]}, "histories", ["half a character"]),
        ({"histories": [[["7"]]]}, "histories", ["got ['7']"]),
        ({"histories": [["7"] * 10_001]}, "histories", ["10001", "at most 10000"]),
        ({"histories": [["7"] * 9_000] * 30}, "histories", ["at most 200000 items"]),
        ({"histories": 7}, "histories", ["got 7"]),
        (GOOD | {"top": 0}, "top", ["got 0"]),
        (GOOD | {"top": 10**6}, "top", ["between 1 and 4", "1000000"]),
        (GOOD | {"top": "3"}, "top", ["got '3'"]),
        (GOOD | {"top": True}, "top", ["got True"]),
        (GOOD | {"beams": 10**6}, "beams", ["between 1 and 4", "1000000"]),
        (GOOD | {"beams": 2**80}, "beams", ["whole number"]),
        (GOOD | {"beams": -1}, "beams", ["got -1"]),
        (GOOD | {"diversity": 0.5}, "diversity", ["no diverse lists", "--diversity-groups"]),
        (GOOD | {"diversity": 100.1}, "diversity", ["from 0 to 100, got 100.1"]),
        (GOOD | {"diversity": 10**400}, "diversity", ["from 0 to 100"]),
        (GOOD | {"diversity": -0.1}, "diversity", ["got -0.1"]),
        (GOOD | {"diversity": True}, "diversity", ["got True"]),
        (GOOD | {"diversity": "1"}, "diversity", ["got '1'"]),
        (GOOD | {"diversity": [1]}, "diversity", ["got [1]"]),
        (GOOD | {"diversity_groups": 2}, "diversity_groups", ["no parameter diversity_groups"]),
        ({"histories": {"x" * 501: ["7"]}}, "histories", ["1 to 500 characters"]),
        (GOOD | {"allowed": []}, None, ["allowed is an empty list"]),
        (GOOD | {"allowed": {"7": 1}}, "allowed", ["a list of IDs"]),
        (GOOD | {"allowed": [["7"], ["9"]]}, "allowed", ["2 lists for 1"]),
        (GOOD | {"exclude": [["7"], "9"]}, "exclude", ["2 lists for 1"]),
        (GOOD | {"seen": "yes"}, "seen", ["got 'yes'"]),
        (GOOD | {"cache_key": "ann"}, "cache_key", ["no parameter cache_key"]),
        (GOOD | {"client": "ann"}, "client", ["no parameter client"]),
        (GOOD | {"__class__": 1}, "__class__", ["no parameter __class__"]),
    ],
)
def test_a_wrong_parameter_is_named(films, body, param, words):
    refused(films, {"top": 2} | body, *words, param=param)


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"item": "9"}, "history", ["got None"]),
        ({"history": [], "item": "9"}, "history", ["empty"]),
        ({"history": ["7"] * 101, "item": "9"}, "history", ["at most 100"]),
        ({"history": ["7"]}, "item", ["got None"]),
        ({"history": ["7"], "item": "99"}, None, ["no item '99'"]),
        ({"history": ["7"], "item": "9", "user": ""}, "user", ["1 to 500 characters"]),
        ({"history": ["7"], "item": "9", "user": ["ann"]}, "user", ["got ['ann']"]),
    ],
)
def test_a_wrong_explanation_is_named(films, body, param, words):
    refused(films, body, *words, param=param, path="/v1/explain")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", ["not JSON"]),
        (b'{"top": NaN}', ["NaN"]),
        (b'{"histories": [["7"]], "top": 2, "diversity": NaN}', ["NaN"]),
        (b'{"histories": [["7"]], "top": 2, "diversity": 1e999}', ["from 0 to 100, got inf"]),
        (b'{"histories": [["7"]], "top": 1e999}', ["top"]),
        (b'{"histories":' + b"[" * 100_000 + b"]" * 100_000 + b"}", ["levels"]),
        (b'{"users": ["ann"], "users": ["bob"]}', ["'users' twice"]),
    ],
)
def test_a_body_that_is_no_request_is_refused(films, body, words):
    refused(films, body, *words)


def test_a_body_of_100_mb_is_refused(films):
    big = b'{"users": ["' + b"x" * (100 << 20) + b'"]}'
    refused(films, big, "at most 4194304 bytes", status=413)


@pytest.mark.parametrize(
    "query", ["q=Alien", "query=a&query=b", "query=a&top=3", f"query={'x' * 501}"]
)
def test_a_wrong_search_is_no_list_of_all_items(films, query):
    refused(films, b"", "query", path=f"/v1/items?{query}", method="GET")


def test_no_list_is_longer_than_the_service_allows():
    # Lists of four are computed, but that is no offer.
    catalogue = ServedCatalogue.of(four_films(), "first", (1,))
    engine = RecommendEngine(catalogue, RecommendShapes(batch_sizes=(1,), most_top=2))
    assert engine.length_of(2) == 4
    for wrong in ({"top": 3}, {"top": 1, "beams": 3}):
        with pytest.raises(JaxrecError, match="must lie between 1 and 2 here, got 3"):
            engine.length_of(**wrong)


def test_files_that_are_no_catalogue_are_called_files(films):
    catalogue = films.engine.catalogue
    for content, words in (
        (b"", "the file is not JSON"),
        (b"[]", "the file must be a JSON object"),
        (b'{"removed": ["9"], "removed": []}', "the file has the name 'removed' twice"),
        (b'{"removed": [7]}', r"removed must be .* got \[7\]"),
        (b'{"remvoed": []}', "the file has 'remvoed'"),
    ):
        with pytest.raises(JaxrecError, match=words) as caught:
            catalogue.changed(content)
        error = as_catalogue_error(caught.value)
        assert error.code == "bad_catalogue" and "the earlier one stays" in str(error)


@pytest.mark.parametrize("path", ["/v1/../../etc/passwd", "/..%2f..%2fetc%2fpasswd", "/demo.html"])
def test_paths_lead_nowhere(films, path):
    refused(films, b"", path=path, method="GET", status=404)


def test_a_request_reads_only_what_it_names(films):
    """No answer holds a history, and a named history is nobody's but the request's."""
    seen = ask(films, users=["ann"], top=4)["lists"][0]
    assert [x["item"] for x in seen["items"]] == ["12"]
    mine = ask(films, histories={"ann": []}, top=4)["lists"][0]
    assert len(mine["items"]) == 4
    assert ask(films, users=["ann"], top=4)["lists"][0] == seen


def test_the_catalogue_is_swapped_by_administrators_alone(films, tmp_path):
    keys, admins, files = tmp_path / "keys", tmp_path / "admins", tmp_path / "files"
    keys.write_text("an-ordinary-key\n")
    admins.write_text("a-key-of-an-administrator\n")
    files.mkdir()
    (tmp_path / "secret").write_text("{}")
    (files / "link").symlink_to(tmp_path / "secret")
    (files / "good.json").write_text(json.dumps({"removed": ["9"]}))
    everybody = read_keys(keys) + read_keys(admins)
    service = {"catalogues": files, "admin_keys": read_keys(admins)}
    put = {"path": "/v1/catalogue", "method": "PUT"}
    with serving_items(four_films(), service=service, keys=everybody) as guarded:
        good = {"file": "good.json"}
        refused(guarded, good, "missing or wrong", status=401, **put)
        refused(guarded, good, "administrator", status=403, key="an-ordinary-key", **put)
        admin = "a-key-of-an-administrator"
        for name in ("../secret", "/etc/passwd", "..", ".hidden", "a/b", "", None, 3, "x" * 101):
            refused(guarded, {"file": name}, "name of a file", key=admin, **put)
        for name in ("link", "nothing", "good"):
            refused(guarded, {"file": name}, "no file", status=404, key=admin, **put)
        refused(guarded, good | {"a": 1}, "file alone", key=admin, **put)
        assert send(guarded, "/v1/catalogue", key=admin, method="GET")[1]["version"] == "first"
        assert send(guarded, "/v1/catalogue", good, key=admin, method="PUT")[0] == 200
    # A service without keys of administrators refuses everybody.
    refused(films, good, "administrator", status=403, **put)
