"""`jaxrec.open`: a run recommends from its directory alone, what the commands recommend."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

import jaxrec
from jaxrec.cli.main import main
from jaxrec.core import CompileCounter, ConfigError, DataError
from jaxrec.data import Dataset, Interactions, leave_one_out, load_dataset
from jaxrec.runs import RecommendRequest, keep_data, offered, read_kept, row_batches
from jaxrec.serve import ItemNames
from jaxrec.testing import four_films, tiny_config, tiny_interactions

from .runs import generative_run, sasrec_run, without_data

MAKERS = {"generative": generative_run, "sasrec": sasrec_run}


@pytest.fixture(scope="module", params=MAKERS)
def run(request, tmp_path_factory):
    """A run whose data are gone, and what the command recommends to a user before that."""
    directory = tmp_path_factory.mktemp(request.param)
    config, path = MAKERS[request.param](directory)
    recommend = offered(config, "recommend")
    users = ["u003", "u039"]
    # Each of these calls compiles.
    answers = [recommend(config, path, RecommendRequest("u003", 10))]
    seen = recommend(config, path, RecommendRequest("u003", 10, include_seen=True))
    data = load_dataset(config.data).interactions
    histories = {user: data.history(int(user[1:])) for user in ("u003", "u017")}
    without_data(path)
    return path, users, answers, seen, histories


@pytest.fixture(scope="module")
def model(run):
    """The run in use; a test that changes it opens its own."""
    return jaxrec.open(run[0])


def test_the_lists_are_those_of_the_command_without_the_data(run, model):
    _, users, answers, seen, _ = run
    lists = model.recommend(users=users)
    for row, answer in enumerate(answers):
        assert lists.numbers[row].tolist() == [item.item for item in answer.items]
        assert lists.titles[row].tolist() == [item.title for item in answer.items]
        np.testing.assert_allclose(lists.scores[row], [i.score for i in answer.items], rtol=1e-4)
    kept = model.recommend(users=["u003"], seen=True)
    assert kept.numbers[0].tolist() == [item.item for item in seen.items]
    # The same history by IDs, by titles, and by numbers of users, in another order.
    history = answers[0].history
    by_title = model.recommend(histories=[list(history)])
    assert by_title.items[0].tolist() == lists.items[0].tolist()
    assert lists.items[0].tolist() == [f"i{n:03d}" for n in lists.numbers[0]]
    again = model.recommend(users=["u039", "u003"], top=4)
    assert again.numbers.tolist() == lists.numbers[[1, 0], :4].tolist()


def test_every_item_by_brute_force_and_the_same_scores_for_lists(run, model):
    histories = run[-1]
    everything = model.names.ids.tolist()
    read = [model.names.ids[histories[user]].tolist() for user in ("u003", "u017")]
    # One item at a time has no search to go wrong in.
    alone = np.stack([model.score(read, [item])[:, 0] for item in everything], axis=1)
    together = model.score(read, everything)
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-5)
    lists = model.recommend(histories=read, top=len(everything), seen=True)
    expected = np.argsort(-together, axis=1, kind="stable")
    assert lists.numbers.tolist() == expected.tolist()
    np.testing.assert_allclose(lists.scores, np.take_along_axis(together, expected, 1), rtol=1e-4)
    # Limits and exclusions are those of the ranking by hand.
    few = [f"i{n:03d}" for n in (1, 5, 8, 13, 21)]
    lists = model.recommend(histories=read, top=5, allowed=few, exclude=["i008"], seen=True)
    for row, numbers in enumerate(lists.numbers.tolist()):
        left = [n for n in expected[row].tolist() if n in (1, 5, 13, 21)]
        assert numbers == [*left, -1]
    lists = model.recommend(histories=read, top=3, allowed=[few, ["i002"]], exclude=[[], few])
    assert lists.items[1].tolist() in (["i002", "", ""], ["", "", ""])


def test_an_explanation_is_what_each_item_of_the_history_changes(model):
    history = ["i003", "i011", "i020", "i011"]
    lists = model.explain(history, "Film 007")
    assert sorted(lists.items[0].tolist()) == sorted(history)
    whole = model.score([history], ["i007"])[0, 0]
    falls = [
        whole - model.score([history[:n] + history[n + 1 :]], ["i007"])[0, 0] for n in range(4)
    ]
    np.testing.assert_allclose(lists.scores[0], sorted(falls, reverse=True), atol=1e-5)
    assert lists.items[0, 0] == history[int(np.argmax(falls))]
    assert np.ptp(falls) > 1e-3
    with pytest.raises(ConfigError, match="explain takes one history with items"):
        model.explain([], "i007")


def test_calls_of_any_size_share_few_programs(model):
    users = [f"u{n:03d}" for n in range(40)]
    whole = model.recommend(users=users)
    with CompileCounter() as first:
        model.recommend(users=users[:1])
    with CompileCounter() as counter:
        for count in (1, 2, 5, 13, 16, 40):
            lists = model.recommend(users=users[:count])
            assert lists.numbers.tolist() == whole.numbers[:count].tolist()
    assert first.count <= 2 and counter.count <= 2


def test_frames_have_a_row_for_each_item(run, model):
    _, users, answers, *_ = run
    lists = model.recommend(users=users[:2], top=3)
    frame = lists.to_pandas()
    assert frame["user"].tolist() == ["u003"] * 3 + ["u039"] * 3
    assert frame["rank"].tolist() == [1, 2, 3] * 2
    assert frame["title"].tolist()[:3] == [item.title for item in answers[0].items[:3]]
    assert frame["score"].dtype == np.float32


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({}, "give users or histories, and neither was given"),
        ({"users": ["u003"], "histories": [["i001"]]}, "and both were given"),
        ({"users": ["u03"]}, "no user 'u03' in tiny, did you mean 'u003'"),
        ({"users": "u003"}, r"users must be a list, got 'u003'; give \['u003'\]"),
        (
            {"histories": ["i001", "i002"]},
            r"histories, row 0 must be a list, got 'i001'; give \['i001'\]",
        ),
        ({"histories": [["i001"], ["Filn 003"]]}, "row 1: no item 'Filn 003' .* mean 'Film 003'"),
        ({"histories": [["nothing like it"]]}, "has 30 items, such as i000, i001, i002"),
        ({"histories": [{"i001", "i002"}]}, "histories, row 0 must be in order"),
        ({"histories": [["i001", None]]}, "row 0: expected a text or a whole number, got None"),
        ({"users": [3.0]}, "users: expected a text or a whole number, got 3.0"),
        ({"users": ["u003"], "top": "5"}, "top must be a whole number, got '5'"),
        ({"users": ["u003"], "seen": "no"}, "seen must be True or False, got 'no'"),
        ({"users": ["u003"], "top": 31}, "between 1 and the catalogue's 30 items, got 31"),
        ({"users": ["u003"], "allowed": []}, "allowed is an empty list"),
        ({"users": ["u003"], "allowed": [["i001"], []]}, "allowed has 2 lists for 1 users"),
        ({"users": ["u003", "u004"], "allowed": [["i001"], []]}, "allowed, row 1"),
    ],
)
def test_wrong_calls_are_refused_with_a_fix(model, call, words):
    with pytest.raises(ConfigError, match=words):
        model.recommend(**call)


def test_removed_items_stay_away_once_they_are_saved(run, tmp_path):
    path = shutil.copytree(run[0], tmp_path / "run")
    model = jaxrec.open(path)
    before = model.recommend(users=["u003"]).items[0].tolist()
    model.remove_items(before[:2])
    assert model.recommend(users=["u003"], top=8).items[0].tolist() == before[2:]
    assert jaxrec.open(path).recommend(users=["u003"]).items[0].tolist() == before
    model.save()
    assert jaxrec.open(path).recommend(users=["u003"], top=8).items[0].tolist() == before[2:]
    with pytest.raises(ConfigError, match="none of 30 items would be left"):
        model.remove_items(model.names.ids)


def test_a_name_is_not_removed_letter_by_letter():
    model = four_films()
    for wrong in ("97", None, 9):
        with pytest.raises(ConfigError, match="remove_items must be a list"):
            model.remove_items(wrong)
    assert model.changes.removed == ()


def test_a_save_never_undoes_the_save_of_somebody_else(run, tmp_path):
    path = shutil.copytree(run[0], tmp_path / "run")
    first, second = jaxrec.open(path), jaxrec.open(path)
    first.remove_items(["i001"])
    first.save()
    second.remove_items(["i002"])
    with pytest.raises(ConfigError, match=r"was changed since it was read .*open it again"):
        second.save()
    assert jaxrec.open(path).changes.removed == ("i001",)
    first.remove_items(["i003"])  # its own save is known to it
    first.save()
    assert jaxrec.open(path).changes.removed == ("i001", "i003")
    shutil.rmtree(path)
    with pytest.raises(DataError, match="does not exist any more"):
        first.save()
    assert not path.exists()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ([], "the table has no rows"),
        ([{"item": float("nan"), "title": "x"}], "row 0 of the table, item: .* got nan"),
        ([{"item": True}], "row 0 of the table, item: .* got True"),
        ([{"item": "  "}], "has the item '  '; give it an ID"),
        ([{"title": "x"}], "row 0 of the table has no 'item'"),
        (np.array(["i100"]), "got ndarray"),
    ],
)
def test_tables_of_new_items_are_checked_row_by_row(table, words):
    with pytest.raises(ConfigError, match=words):
        four_films().add_items(table)


def test_long_names_are_cut_in_messages():
    with pytest.raises(ConfigError) as caught:
        four_films().recommend(histories=[["a" * 100_000]])
    assert len(str(caught.value)) < 300


def test_two_items_of_one_title_need_an_id():
    data = tiny_interactions(users=5, items=12)
    data.items.fields["title"][3] = "Film 001"
    names = ItemNames.of(data.items, data.name)
    with pytest.raises(ConfigError, match=r"2 items have the title 'Film 001'; .*: i001, i003"):
        names.numbers(["Film 001"])
    # The year tells them apart.
    assert names.numbers(["Film 001 (1951)", "i003", "Film 002"]).tolist() == [1, 3, 2]


def test_new_items_are_reached_and_kept(tmp_path):
    _, path = generative_run(tmp_path)
    without_data(path)
    model = jaxrec.open(path)
    rows = [{"item": f"n{n}", "title": f"New {n}", "genres": "Drama"} for n in range(12)]
    model.add_items(rows)
    assert len(model.names) == 42
    old = [f"i{n:03d}" for n in range(30)]
    lists = model.recommend(histories=[["i003", "New 1"]], exclude=old)
    assert set(lists.items[0]) <= {f"n{n}" for n in range(12)} - {"n1"}
    assert (lists.numbers >= 30).all() and "New 4" in lists.titles
    with pytest.raises(ConfigError, match="item 'n3' already exists"):
        model.add_items([{"item": "n3", "title": "Again"}])
    with pytest.raises(ConfigError, match="row 1 of the table has no 'item'"):
        model.add_items([{"item": "n99", "title": "x"}, {"title": "y"}])
    model.save()
    again = jaxrec.open(path).recommend(histories=[["i003", "New 1"]], exclude=old)
    assert again.items.tolist() == lists.items.tolist()


@pytest.mark.parametrize("run", ["sasrec"], indirect=True)
def test_what_cannot_be_opened_says_why(run, tmp_path):
    path = shutil.copytree(run[0], tmp_path / "run")
    with pytest.raises(DataError, match="no run directory"):
        jaxrec.open(tmp_path / "nothing")
    (path / "catalogue" / "users.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match=r"users\.parquet: not a readable Parquet file"):
        jaxrec.open(path)
    shutil.rmtree(path / "catalogue")
    with pytest.raises(DataError, match="keeps no catalogue of its items, and its data cannot be"):
        jaxrec.open(path)
    settings = json.loads((path / "config.json").read_text()) | {"system": "reward"}
    (path / "config.json").write_text(json.dumps({"system": "reward", "data": {}}))
    assert settings
    with pytest.raises((ConfigError, DataError)):
        jaxrec.open(path)


@pytest.mark.slow
def test_a_run_of_an_earlier_version_reads_its_data_and_says_so(tmp_path, capsys):
    _, path = sasrec_run(tmp_path)
    new = jaxrec.open(path).recommend(users=["u003"])
    assert not capsys.readouterr().err
    shutil.rmtree(path / "catalogue")
    old = jaxrec.open(path).recommend(users=["u003"])
    assert "keeps no catalogue" in capsys.readouterr().err
    assert old.items.tolist() == new.items.tolist()
    with pytest.raises(ConfigError, match=r"systems that do: generative; SASRec has a vector for"):
        jaxrec.open(path).add_items([{"item": "n0"}])


@pytest.mark.parametrize("tie", ["row", "item_desc"])
def test_a_run_keeps_the_order_and_the_users_of_its_split(tie, tmp_path):
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(9), [5, 1, 4, 7, 2, 6, 3, 8, 5])
    data = Interactions.from_columns(
        user=users, item=rng.integers(0, 12, len(users)), time=rng.integers(0, 3, len(users))
    )
    dataset = Dataset(data, leave_one_out(data, tie=tie, short_users="drop"))
    keep_data(dataset, tmp_path)
    kept = read_kept(tmp_path)
    assert kept.num_users == 7
    found = kept.dataset()
    for stage in ("valid", "test"):
        ours, theirs = (x.split.history(stage) for x in (found, dataset))
        assert [row.tolist() for row in ours] == [row.tolist() for row in theirs]
        assert found.split.target(stage).tolist() == dataset.split.target(stage).tolist()
    names = kept.user_ids.tolist()
    assert [name for batch, _ in kept.batches(3) for name in batch] == names
    assert kept.part(3, 2)[0] == names[3:5] and kept.part(5, 9)[0] == names[5:]
    assert kept.part(7, 2) == ([], [])


def test_batches_hold_every_row_once():
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 90, 500)
    found = []
    for batch in row_batches(lengths, (8, 32), most=64):
        assert len(batch.rows) in (1, 16, 64)
        assert (np.minimum(lengths[batch.rows], 32) <= batch.width).all()
        found += batch.rows[: batch.count].tolist()
    assert sorted(found) == list(range(500))


@pytest.mark.slow
def test_users_that_models_read_must_be_named(tmp_path):
    _, path = generative_run(tmp_path, user_tokens=7)
    model = jaxrec.open(path)
    with pytest.raises(ConfigError, match="this model reads who the user is"):
        model.recommend(histories=[["i001"]])
    history = model.names.ids[model.kept.histories(model.kept.find(["u003"]))[0]]
    named = model.recommend(histories={"u003": history.tolist()})
    assert named.items.tolist() == model.recommend(users=["u003"]).items.tolist()


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [{}, {"architecture": "encoder_decoder", "user_tokens": 5, "legal": True}],
    ids=["causal", "encoder_decoder"],
)
def test_an_export_gives_the_lists_of_its_run(settings, tmp_path, monkeypatch):
    settings = dict(settings)
    config = tiny_config("tiny.csv")
    if settings.pop("legal", False):
        settings["decode"] = dataclasses.replace(config.decode, normalize="legal")
        settings["model"] = dataclasses.replace(
            config.model,
            positions="relative",
            activation="relu",
            gated=False,
            query_scale=1.0,
            logit_scale=0.25,
        )
    _, path = generative_run(tmp_path, **settings)
    run = jaxrec.open(path)
    out = tmp_path / "export"
    assert main(["export", str(path), "--to", "hf", "--out", str(out)]) == 0
    shutil.rmtree(path)
    model = jaxrec.open(out)
    read = {"ann": ["i003", "Film 007 (1957)"], "bob": ["i012"]}
    ours = model.recommend(histories=read, top=8)
    theirs = run.recommend(histories=read, top=8)
    assert ours.items.tolist() == theirs.items.tolist()
    assert ours.titles.tolist() == theirs.titles.tolist()
    np.testing.assert_allclose(ours.scores, theirs.scores, rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match="is an export, which knows no users"):
        model.recommend(users=["u003"])
    for change in (lambda: model.add_items([{"item": "x"}]), model.save):
        with pytest.raises(ConfigError, match="is an export"):
            change()
    import huggingface_hub

    def fetch(name):
        if name != "ann/films":
            raise ValueError("no such repository")
        return str(out)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    again = jaxrec.open("hf://ann/films").recommend(histories=read, top=8)
    assert again.items.tolist() == ours.items.tolist()
    with pytest.raises(DataError, match=r"hf://ann/books cannot be fetched .no such repository"):
        jaxrec.open("hf://ann/books")
