"""The behaviour graph and its paths: held-out edges are in none, and the best users come first."""

import dataclasses
import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core import ConfigError, DataError
from jaxrec.data import Interactions, click_windows
from jaxrec.systems.glrec import (
    GlrecConfig,
    GlrecEvalConfig,
    Path,
    PathFinder,
    PathsConfig,
    Question,
    build_graph,
    edge_kinds,
    jaccard,
    path_text,
    user_texts,
    words_of,
)
from jaxrec.systems.glrec.questions import make_writer
from jaxrec.testing import write_tiny_csv
from jaxrec.texts import ClickDataConfig, load_click_run

SHAPES = ("user-item-user", "item-user-item", "user-item")
NONE = (np.zeros(0, np.int32), np.zeros(0, np.int32))


def interactions(rows):
    """Interactions of (user, item, rating) with numbers as names."""
    user, item, rating = zip(*rows, strict=True)
    return Interactions.from_columns(user, item, rating=np.array(rating, np.float32))


def finder(graph, shapes=SHAPES, count=3, overlap=1.0, **words):
    return PathFinder(
        graph=graph,
        liked_from=1,
        shapes=shapes,
        count=count,
        overlap=overlap,
        user_words=words.get("users", [frozenset({f"u{n}"}) for n in range(graph.num_users)]),
        item_words=words.get("items", [frozenset({f"i{n}"}) for n in range(len(graph.starts))]),
    )


def asked(user, items, liked, item):
    return Question(user, np.array(items, np.int32), np.array(liked, bool), item)


@st.composite
def ratings(draw):
    """Ratings of few users and items, in which pairs may come twice."""
    users, items = draw(st.integers(2, 8)), draw(st.integers(2, 8))
    row = st.tuples(
        st.integers(0, users - 1), st.integers(0, items - 1), st.sampled_from([1.0, 3.0, 4.0, 5.0])
    )
    return interactions(draw(st.lists(row, min_size=4, max_size=60)))


@settings(max_examples=25, deadline=None)
@given(data=ratings(), share=st.floats(0, 0.7), seed=st.integers(0, 99))
def test_no_path_holds_a_held_out_edge_or_the_edge_asked_about(data, share, seed):
    rng = np.random.default_rng(seed)
    held = rng.random(len(data)) < share
    pairs = set(zip(data.user[held].tolist(), data.item[held].tolist(), strict=True))
    every = set(zip(data.user.tolist(), data.item.tolist(), strict=True))
    if pairs == every:
        with pytest.raises(DataError, match="are held out"):
            build_graph(data, (3.0,), (data.user[held], data.item[held]))
        return
    graph = build_graph(data, (3.0,), (data.user[held], data.item[held]))
    assert len(graph) == len(every - pairs)
    for user, item in sorted(every):
        history = data.history(user)
        liked = rng.random(len(history)) < 0.5
        for path in finder(graph, count=50).find(Question(user, history, liked, item)):
            assert not pairs & set(path.edges())
            assert all(node != user for node, _ in path.edges())
            assert set(path.edges()) <= every - pairs


@settings(max_examples=25, deadline=None)
@given(data=ratings(), seed=st.integers(0, 99))
def test_paths_are_those_of_a_search_over_all_triples(data, seed):
    """A search by brute force over a dense matrix finds the same item-user-item paths."""
    graph = build_graph(data, (3.0,), NONE)
    kind = np.full((data.num_users, data.num_items), -1)
    for item in range(data.num_items):
        users, kinds = graph.users_of(item)
        kind[users, item] = kinds
    last = {(u, i): r for u, i, r in zip(data.user, data.item, data.rating, strict=True)}
    assert {pair: int(r > 3) for pair, r in last.items()} == {
        (u, i): kind[u, i] for u, i in np.argwhere(kind >= 0).tolist()
    }
    rng = np.random.default_rng(seed)
    history = rng.permutation(data.num_items)[:3]
    liked = rng.random(len(history)) < 0.5
    item = int(rng.integers(data.num_items))
    found = finder(graph, ("item-user-item",), count=99).find(asked(0, history, liked, item))
    wanted = []
    for other in range(1, data.num_users):
        if kind[other, item] < 0:
            continue
        met = [
            (j, like)
            for j, like in zip(history.tolist(), liked.tolist(), strict=True)
            if j != item and kind[other, j] >= 0
        ]
        agree = [(j, like) for j, like in met if kind[other, j] == like]
        if agree:
            score = 2 * len(agree) - len(met)
            nodes = (agree[-1][0], other, item)
            kinds = (int(kind[other, agree[-1][0]]), int(kind[other, item]))
            wanted.append((-score, other, Path("item-user-item", nodes, kinds)))
    assert found == [path for _, _, path in sorted(wanted)]


def test_users_who_agree_more_come_first_and_pairs_of_them_make_a_path():
    # User 1 agrees with user 0 on both items shown, 2 on one of them, 3 on none, 4 on no common.
    rows = [(1, 0, 5), (1, 1, 1), (2, 0, 5), (2, 1, 5), (3, 0, 1), (3, 1, 5)]
    rows += [(user, 2, 5 if user % 2 else 1) for user in (1, 2, 3, 4)] + [(0, 0, 5), (0, 1, 1)]
    graph = build_graph(interactions(rows), (3.0,), NONE)
    question = asked(0, [0, 1], [True, False], 2)
    assert finder(graph, ("user-item-user",)).find(question) == [
        Path("user-item-user", (1, 2, 2), (1, 0)),
        Path("user-item-user", (4, 2, 3), (0, 1)),
    ]
    assert [p.nodes[0] for p in finder(graph, ("user-item",), 9).find(question)] == [1, 2, 4, 3]
    turns = finder(graph, ("user-item", "item-user-item"), 4).find(question)
    assert [path.shape for path in turns] == ["user-item", "item-user-item"] * 2
    assert finder(graph, count=0).find(question) == []


@settings(max_examples=25, deadline=None)
@given(data=ratings(), overlap=st.sampled_from([0.0, 0.3, 0.6]), seed=st.integers(0, 9))
def test_paths_that_are_kept_differ_and_those_that_are_dropped_do_not(data, overlap, seed):
    rng = np.random.default_rng(seed)
    graph = build_graph(data, (3.0,), NONE)

    def words(count):
        return [frozenset(rng.choice(list("abcdefg"), 3).tolist()) for _ in range(count)]

    given_words = {"users": words(data.num_users), "items": words(data.num_items)}
    item = data.num_items - 1
    question = asked(0, data.history(0)[:4], [True] * len(data.history(0)[:4]), item)
    every = finder(graph, count=999).find(question)
    few = finder(graph, count=999, overlap=overlap, **given_words)
    kept = few.find(question)

    def told(path):
        users, items = zip(*path.edges(), strict=True)
        own = set().union(*(given_words["users"][u] for u in users))
        return own.union(*(given_words["items"][i] for i in items if i != item))

    for one, other in itertools.combinations(kept, 2):
        assert jaccard(told(one), told(other)) <= overlap
    for path in every:
        before = [p for p in kept if every.index(p) < every.index(path)]
        near = any(jaccard(told(path), told(other)) > overlap for other in before)
        assert near == (path not in kept)


def test_types_of_edges_are_bands_of_ratings_with_a_verb_each():
    assert edge_kinds(np.array([1, 2, 3, 4, 5]), (2.0, 4.0)).tolist() == [0, 0, 1, 1, 2]
    rows = [(0, 0, 1), (1, 0, 2), (2, 0, 3), (0, 1, 3)]
    graph = build_graph(interactions(rows), (1.0, 2.0), NONE)
    assert [part.tolist() for part in graph.users_of(0)] == [[0, 1, 2], [0, 1, 2]]
    verbs = ("viewed", "messaged about", "interviewed for")
    users, items = ["candidate 1", "candidate 2"], ['"Nurse"', '"Clerk"']
    for path, text in (
        (
            Path("user-item-user", (0, 1, 1), (2, 1)),
            'candidate 1 interviewed for "Clerk", which candidate 2 messaged about.',
        ),
        (
            Path("item-user-item", (0, 1, 1), (1, 0)),
            'candidate 2, who messaged about "Nurse", viewed "Clerk".',
        ),
        (Path("user-item", (1, 0), (2,)), 'candidate 2 interviewed for "Nurse".'),
    ):
        assert path_text(path, users, items, verbs) == text


def test_a_pair_that_met_twice_has_the_edge_of_the_last_time():
    graph = build_graph(interactions([(0, 0, 5), (1, 0, 2), (0, 0, 1)]), (3.0,), NONE)
    assert [part.tolist() for part in graph.users_of(0)] == [[0, 1], [0, 0]]


def test_interactions_without_ratings_have_no_types():
    data = Interactions.from_columns(["a", "b"], ["x", "x"])
    with pytest.raises(DataError, match=r"without a rating.*--data.rating-column"):
        build_graph(data, (3.0,), NONE)


@pytest.mark.parametrize("shape", SHAPES)
def test_no_path_of_a_run_holds_an_edge_that_validation_or_test_ask_about(shape, tmp_path):
    config = GlrecConfig(
        data=ClickDataConfig(
            name="tiny", from_file=str(write_tiny_csv(tmp_path)), user_column="user_id",
            item_column="movie_id", rating_column="stars", time_column="when", min_count=0,
        ),
        history=3,
        paths=PathsConfig(shapes=(shape,)),
        eval=GlrecEvalConfig(valid_windows=10, test_windows=10),
    )  # fmt: skip
    parts = load_click_run(config)
    # Windows that are not measured are held out too.
    windows = click_windows(parts.data, 3)
    others = ~np.isin(windows.user, np.unique(parts.train.user))
    pairs = set(zip(windows.user[others].tolist(), windows.target[others].tolist(), strict=True))
    assert pairs == set(zip(*(part.tolist() for part in parts.asked), strict=True))
    writer, count = make_writer(config, parts), 0
    for part in (parts.train, parts.valid, parts.test):
        questions = writer.questions(part, 0)
        for row, paths in enumerate(questions.paths):
            for path in paths:
                assert not pairs & set(path.edges())
                assert (int(part.user[row]), int(part.target[row])) not in path.edges()
                count += 1
    assert count > 20


def test_users_are_called_by_their_fields_and_wrong_fields_are_named():
    data = Interactions.from_columns(
        ["7", "9"], ["x", "x"], users={"7": {"age": "24", "job": "nurse"}, "9": {"age": "50"}}
    )
    assert user_texts(data, "a {age}-year-old {job}") == ["a 24-year-old nurse", "a 50-year-old "]
    with pytest.raises(ConfigError, match=r"asks for \{jobb\}.*did you mean 'job'"):
        user_texts(data, "a {jobb}")
    assert words_of("A star's War") == {"a", "star", "s", "war"}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PathsConfig(shapes=()), "one or more different shapes"),
        (lambda: PathsConfig(shapes=("user-item", "user-item")), "different shapes"),
        (lambda: PathsConfig(bounds=(4.0, 3.0), verbs=("a", "b", "c")), "ascending ratings"),
        (lambda: PathsConfig(verbs=("liked",)), "must be 2 texts"),
        (lambda: PathsConfig(verbs=("liked", "liked")), "call different types of edges the same"),
        (lambda: GlrecConfig(kind=" "), "kind is empty"),
        (lambda: PathsConfig(overlap=1.5), "--paths.overlap"),
        (lambda: PathsConfig(user_text="user {}"), "must be the name of a field"),
        (lambda: GlrecConfig(threshold=3.5), "do not have the threshold 3.5"),
        (
            lambda: GlrecConfig(paths=PathsConfig(count=1), order="shuffle"),
            "order shuffle is of several paths, and paths.count is 1",
        ),
        (
            lambda: GlrecConfig(form="pair", paths=PathsConfig(planted=True)),
            "needs form point",
        ),
        (
            lambda: GlrecConfig(order="ranked", shuffles=3),
            "--shuffles 3 is not read with --order ranked; leave it out",
        ),
        (lambda: GlrecConfig(order="selector", shuffles=3), "--shuffles 3 is not read"),
        (lambda: GlrecConfig(order="shuffle", strength=0.2), "set --order selector or hybrid"),
        (lambda: GlrecEvalConfig(orders=0), "--eval.orders must be at least 1"),
    ],
)
def test_settings_that_contradict_one_another_are_named(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_a_table_of_a_recruiting_site_gives_paths_in_its_own_words(tmp_path):
    rng = np.random.default_rng(0)
    rows = ["candidate,job,event"]
    for candidate in range(40):
        for job in rng.permutation(12)[:8].tolist():
            rows.append(f"c{candidate},j{job},{rng.choice(['viewed', 'messaged', 'interviewed'])}")
    path = tmp_path / "events.csv"
    path.write_text("\n".join(rows) + "\n")
    config = GlrecConfig(
        data=ClickDataConfig(
            name="jobs",
            from_file=str(path),
            user_column="candidate",
            item_column="job",
            rating_column="event",
            rating_levels=("viewed", "messaged", "interviewed"),
            min_count=0,
        ),
        history=3,
        threshold=0.0,
        kind="job",
        paths=PathsConfig(
            bounds=(0.0, 1.0),
            verbs=("viewed", "messaged about", "interviewed for"),
            user_text="candidate {id}",
        ),
    )
    parts = load_click_run(config)
    events = {tuple(row.split(",")[:2]): row.split(",")[2] for row in rows[1:]}
    writer = make_writer(config, parts)
    questions = writer.questions(parts.test, 0)
    said = {"viewed": "viewed", "messaged about": "messaged", "interviewed for": "interviewed"}
    pattern = re.compile(r'candidate (c\d+) ([a-z ]+) "(j\d+)", which candidate (c\d+) ([a-z ]+)\.')
    count = 0
    for text in (text for texts in writer.texts(questions) for text in texts):
        one, first, job, other, second = pattern.fullmatch(text).groups()
        assert said[first] == events[one, job] and said[second] == events[other, job]
        count += 1
    assert count > 20
    for user, job, label in zip(parts.test.user, parts.test.target, parts.test.label, strict=True):
        event = events[str(parts.data.user_ids[user]), parts.titles[job]]
        assert label == (event != "viewed")
    with pytest.raises(
        DataError, match=r"row \d+: column 'event' has 'interviewed', which is none"
    ):
        load_click_run(
            dataclasses.replace(
                config, data=dataclasses.replace(config.data, rating_levels=("viewed", "messaged"))
            )
        )
    with pytest.raises(ConfigError, match=r"rating_levels .* has a text twice"):
        dataclasses.replace(config.data, rating_levels=("viewed", "viewed"))
    with pytest.raises(ConfigError, match=r"rating_levels .* give data.rating_column"):
        dataclasses.replace(config.data, rating_column="")
