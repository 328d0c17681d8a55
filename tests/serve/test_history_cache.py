"""The cache of histories: the same answers, entries of one user of one client, bounded memory."""

import collections
import dataclasses
import json

import numpy as np
import pytest

import jaxrec
from jaxrec.core import CompileCounter, ConfigError
from jaxrec.runs import Asked
from jaxrec.serve import (
    HistoryCache,
    RecommendEngine,
    RecommendShapes,
    ServedCatalogue,
    cache_key,
    history_cache,
    read_keys,
)
from jaxrec.testing import four_films

from .items import send, serving_items

pytest.importorskip("prometheus_client", reason="needs the extra serve")
KEYS = ("a-key-of-a-client", "a-key-of-another")
LONGEST = 8  # items that the model reads


@pytest.fixture(scope="module")
def served(item_run, tmp_path_factory):
    """A service with a cache, and the same run in use without a service."""
    directory = tmp_path_factory.mktemp("cache")
    path, files = directory / "keys", directory / "files"
    path.write_text("\n".join(KEYS))
    files.mkdir()
    keys = read_keys(path)
    service = {"catalogues": files, "admin_keys": keys}
    options = {"sizes": (2,), "cache": 1, "service": service, "keys": keys}
    with serving_items(jaxrec.open(item_run), room=0.25, **options) as service:
        service.files = files
        yield service, jaxrec.open(item_run)


@pytest.fixture
def empty(served):
    """The service with an empty cache."""
    service, model = served
    service.engine._cache.clear()
    service.before = service.engine._cache.counts
    return service, model


def ask(service, histories, key=KEYS[0], **body):
    status, answer = send(service, "/v1/recommend", {"histories": histories} | body, key=key)
    assert status == 200, answer
    return answer


def same(answer, model, histories, **options):
    lists = model.recommend(histories=list(histories.values()), **options)
    for row, found in enumerate(answer["lists"]):
        count = int((lists.numbers[row] >= 0).sum())
        assert [x["item"] for x in found["items"]] == lists.items[row, :count].tolist()
        scores = [x["score"] for x in found["items"]]
        np.testing.assert_allclose(scores, lists.scores[row, :count], rtol=1e-4)


def counts(service):
    """Hits and misses since the cache was emptied."""
    found, before = service.engine._cache.counts, service.before
    return found.hits - before.hits, found.misses - before.misses


def test_histories_that_grow_shrink_and_change_are_answered_as_without_a_cache(empty):
    service, model = empty
    rng = np.random.default_rng(0)
    ids = model.names.ids.tolist()
    kept, wanted = {}, collections.Counter()  # the rule in Python, item by item
    histories = {user: [] for user in ("ann", "bob", "cem", "dan")}
    requests = []
    for _ in range(24):
        users = rng.choice(list(histories), rng.integers(1, 3), replace=False).tolist()
        for user in users:
            own = histories[user]
            change = rng.choice(["more", "same", "less", "other"], p=[0.6, 0.1, 0.15, 0.15])
            if change == "more" or not own:
                own = own + rng.choice(ids, rng.integers(1, 4)).tolist()
            elif change == "less":
                own = own[: rng.integers(0, len(own))]
            elif change == "other":
                own = [ids[(ids.index(own[0]) + 1) % len(ids)], *own[1:]]
            histories[user] = own
            read = own[-LONGEST:]
            old = kept.get(user)
            grown = old is not None and read[: len(old)] == old and len(read) - len(old) <= 2
            wanted["hit" if grown else "miss"] += 1
            kept[user] = read
        body = {user: histories[user] for user in users}
        requests.append((body, int(rng.integers(1, 9))))
    with CompileCounter() as counter:
        answers = [ask(service, body, top=top) for body, top in requests]
    assert counter.count == 0, counter.programs
    lists = model.recommend(histories=[row for body, _ in requests for row in body.values()])
    rows = [(row, top) for (_, top), a in zip(requests, answers, strict=True) for row in a["lists"]]
    assert len(rows) == len(lists)
    for number, (found, top) in enumerate(rows):
        best = [x for x in lists.items[number, :top] if x]
        assert [x["item"] for x in found["items"]] == best
        scores = [x["score"] for x in found["items"]]
        np.testing.assert_allclose(scores, lists.scores[number, : len(scores)], rtol=1e-4)
    assert counts(service) == (wanted["hit"], wanted["miss"])
    assert wanted["hit"] > 5 and wanted["miss"] > 5


def test_no_client_and_no_user_reaches_the_entry_of_another(empty):
    service, model = empty
    ids = model.names.ids.tolist()
    mine, longer = {"ann": ids[:3]}, {"ann": ids[:4]}
    ask(service, mine)
    assert counts(service) == (0, 1)
    # The same user of another client, and another user of this client.
    same(ask(service, longer, KEYS[1], top=4), model, longer, top=4)
    same(ask(service, {"ann ": ids[:4]}, top=4), model, longer, top=4)
    assert counts(service) == (0, 3)
    same(ask(service, longer, top=4), model, longer, top=4)
    assert counts(service) == (1, 3)
    # Nobody's histories are neither kept nor counted.
    ask(service, [ids[:4]])
    assert counts(service) == (1, 3) and service.engine._cache.counts.entries == 3
    # Names that read alike when they are put together are different entries.
    assert cache_key(b"ab", "c") != cache_key(b"a", "bc")
    # One name with two histories in one request cannot be written in JSON, but users can repeat.
    found, answer = send(service, "/v1/recommend", {"users": ["u003", "u003"]}, key=KEYS[0])
    assert found == 200 and answer["lists"][0] == answer["lists"][1]
    text = service.state.metrics.text().decode()
    assert 'jaxrec_cache_histories_total{kind="hits"}' in text
    assert f"jaxrec_cache_bytes {service.engine._cache.counts.bytes:.1f}" in text


def test_a_swap_of_the_catalogue_keeps_what_was_read(empty):
    service, model = empty
    ids = model.names.ids.tolist()
    ask(service, {"ann": ids[:3]})
    for number, removed in enumerate((ids[5:9], [])):
        (service.files / f"{number}.json").write_text(json.dumps({"removed": removed}))
        body = {"file": f"{number}.json"}
        assert send(service, "/v1/catalogue", body, key=KEYS[0], method="PUT")[0] == 200
        history = {"ann": ids[: 4 + number]}
        same(ask(service, history, top=5), model, history, top=5, exclude=removed)
    assert counts(service) == (2, 1)
    # Other parameters read other keys and values.
    params = service.engine.catalogue.ranker.params
    service.engine._cache.follow({**params})
    assert service.engine._cache.counts.entries == 0
    service.engine._cache.follow(params)


@pytest.mark.slow
def test_diverse_lists_of_all_penalties_share_a_program(item_run, tmp_path):
    model = jaxrec.open(item_run)
    (tmp_path / "keys").write_text(KEYS[0])
    keys = read_keys(tmp_path / "keys")
    options = {"sizes": (2,), "cache": 1, "groups": 2, "keys": keys}
    with serving_items(jaxrec.open(item_run), **options) as service:
        check_diverse(service, model)


def check_diverse(service, model):
    history = {"ann": model.names.ids[:3].tolist()}
    ranker = service.engine.catalogue.rankers[2]
    asked = model.asked(histories=list(history.values()) * 2)
    asked = Asked(histories=asked.histories, excluded=asked.histories)
    with CompileCounter() as counter:
        answers = {x: ask(service, history, top=6, diversity=x) for x in (0, 0.3, 100)}
    assert counter.count == 0, counter.programs
    same(answers[0], model, history, top=6)
    for strength in (0.3, 100):
        strengths = np.full(2, strength, np.float32)
        items, scores = ranker.lists(asked, 10, strengths=strengths, groups=2)
        order = np.argsort(-scores[0, :6], kind="stable")
        found = answers[strength]["lists"][0]["items"]
        assert [x["item"] for x in found] == model.names.ids[items[0, :6][order]].tolist()
    shown = {x: {i["item"] for i in a["lists"][0]["items"]} for x, a in answers.items()}
    assert shown[100] != shown[0]


def test_memory_is_bounded_and_the_user_who_was_away_longest_leaves(item_run, monkeypatch):
    ranker = jaxrec.open(item_run).ranker.with_batch(2)
    with pytest.raises(ConfigError, match=r"--cache-mb 1 holds .* batch has 100000 .* at least"):
        HistoryCache(ranker, 1, 100_000)
    row = HistoryCache(ranker, 1, 1)._row_bytes
    monkeypatch.setattr(history_cache, "_MEGABYTE", 4 * row)  # three users and nobody
    cache = HistoryCache(ranker, 1, 2)
    assert cache._pool.key.nbytes + cache._pool.value.nbytes <= 4 * row

    def read(*users):
        asked = Asked(histories=[np.array([1, 2])] * 2)
        keys = [cache_key(b"", user) for user in (users * 2)[:2]]
        (part,) = cache.split(keys, ranker.tokens(asked))
        ranker.lists(asked, 3, read=cache.reader(keys, part))

    for user in "abc":
        read(user)
    read("a")
    read("d")  # b leaves
    assert (cache.counts.evictions, cache.counts.entries) == (1, 3)
    for user, hit in (("a", True), ("c", True), ("b", False), ("d", False)):
        before = cache.counts.hits
        read(user)
        assert (cache.counts.hits > before) == hit, user
    read("e", "f")
    assert cache.counts.entries == 3 and cache.counts.bytes == 3 * row
    before = cache.counts.hits
    read("e", "f")
    assert cache.counts.hits == before + 2


def test_models_without_keys_to_keep_are_refused_with_the_reason(item_run):
    ranker = jaxrec.open(item_run).ranker
    prefix = dataclasses.replace(ranker.recommender, prefix=True)
    drawn = dataclasses.replace(ranker.recommender, strategy="sample")
    cases = [
        (four_films().ranker, "scores all items at once"),
        (dataclasses.replace(ranker, recommender=prefix), "in both directions"),
        (dataclasses.replace(ranker, recommender=drawn), "strategy 'sample'"),
    ]
    for other, words in cases:
        with pytest.raises(ConfigError, match=f"no history cache, because .*{words}"):
            HistoryCache(other, 64, 1)
    catalogue = ServedCatalogue.of(four_films(), "first", (1,))
    with pytest.raises(ConfigError, match="no diverse lists, because it scores all items"):
        RecommendEngine(catalogue, RecommendShapes(groups=2))
