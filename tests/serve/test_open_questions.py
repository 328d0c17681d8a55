"""Systems that ask about one item at a time rank a catalogue by their answers."""

import dataclasses
import json

import numpy as np
import pytest

import jaxrec
from jaxrec.cli.main import main
from jaxrec.cli.serving import open_items
from jaxrec.core import ConfigError
from jaxrec.data import ClickWindows
from jaxrec.models import TransformerConfig
from jaxrec.runs import RecommendRequest, keep_data
from jaxrec.systems.glrec import GlrecConfig, PathsConfig, run as glrec
from jaxrec.systems.glrec.answering import gaps_of, load_text, rows_of, trained_variables
from jaxrec.systems.glrec.questions import make_writer
from jaxrec.systems.tallrec import TallrecConfig, like_probabilities, run as tallrec
from jaxrec.testing import tiny_config, write_tiny_csv
from jaxrec.texts import ClickDataConfig, begin_run, load_click_run
from jaxrec.train import TrainConfig

from .items import check_engine
from .runs import save_random, without_data

USERS = ["u004", "u017"]
SETTINGS = {
    "split": "users",
    "history": 3,
    "threshold": 3.0,
    "train": TrainConfig(steps=2, batch_size=8),
    "model": TransformerConfig(width=16, depth=1, num_heads=2),
    "vocab_size": 300,
}


def data_of(directory):
    """Ratings that likes and dislikes can be told from."""
    data = dataclasses.replace(tiny_config(write_tiny_csv(directory)).data, min_count=0)
    return ClickDataConfig(**vars(data))


def tallrec_run(directory):
    config = TallrecConfig(data=data_of(directory), **SETTINGS)
    parts = load_click_run(config)
    text = tallrec._open(config, directory / "run", parts, tallrec.stages_of(config, parts))
    return config, parts, text


def glrec_run(directory):
    paths = PathsConfig(count=2, shapes=("user-item-user", "item-user-item"))
    config = GlrecConfig(data=data_of(directory), paths=paths, **SETTINGS)
    parts = load_click_run(config)
    writer = make_writer(config, parts)
    asked = [writer.questions(parts.train, 0)]
    return config, parts, glrec._open(config, directory / "run", writer, asked)


MAKERS = {"tallrec": tallrec_run, "glrec": glrec_run}


def by_hand(config, path, parts, windows):
    """P(yes) to every window, by the parts of the system's own measurement."""
    if isinstance(config, TallrecConfig):
        return like_probabilities(config, path, windows, parts.titles)
    nothing = (np.zeros(0, np.int32),) * 2
    writer = make_writer(config, dataclasses.replace(parts, asked=nothing))
    text = load_text(config, path)
    rows = rows_of(config, text, writer, [writer.questions(windows, 0)])
    gaps = gaps_of(config, text, trained_variables(config, text, path), writer, rows)
    return 1 / (1 + np.exp(-gaps.astype(np.float64)))


def windows_of(data, user, rows, liked=None):
    """Every item after rows of the data."""
    count = data.num_items
    liked = data.rating[rows] > 3 if liked is None else liked
    return ClickWindows(
        user=np.full(count, user, np.int32),
        history=np.tile(data.item[rows], (count, 1)),
        liked=np.tile(liked, (count, 1)),
        target=np.arange(count, dtype=np.int32),
        label=np.zeros(count, bool),
    )


@pytest.fixture(scope="module", params=MAKERS)
def run(request, tmp_path_factory):
    """A run whose data are gone, its ratings, and P(yes) of every item."""
    directory = tmp_path_factory.mktemp(request.param)
    config, parts, text = MAKERS[request.param](directory)
    path = directory / "run"
    begin_run(config, parts, text, path)
    save_random(text.trainable, config.train, path)
    data, wanted = parts.data, {}
    for user in USERS:
        rows = np.flatnonzero(data.user == int(user[1:]))[-3:]
        wanted[user] = by_hand(config, path, parts, windows_of(data, int(user[1:]), rows))
    rows = np.flatnonzero(data.user == 4)[-3:]
    wanted[""] = by_hand(config, path, parts, windows_of(data, -1, rows, np.ones(3, bool)))
    commanded = (
        [tallrec.recommend(config, path, RecommendRequest(user, 10)) for user in USERS]
        if request.param == "tallrec"
        else []
    )
    without_data(path)
    return path, data, wanted, commanded


@pytest.fixture(scope="module")
def model(run):
    return jaxrec.open(run[0])


def test_the_catalogue_is_ranked_by_the_probability_of_yes(run, model):
    _, data, wanted, commanded = run
    lists = model.recommend(users=USERS, top=30, seen=True)
    for row, user in enumerate(USERS):
        order = np.argsort(-wanted[user], kind="stable")
        assert np.ptp(wanted[user]) > 1e-3
        np.testing.assert_allclose(lists.scores[row], wanted[user][order], rtol=1e-4)
        found = model.score({user: data.items.ids[data.history(int(user[1:]))]}, data.items.ids)
        np.testing.assert_allclose(found[0], wanted[user], rtol=1e-4)
    for row, answer in enumerate(commanded):
        mine = model.recommend(users=USERS)
        assert mine.numbers[row].tolist() == [item.item for item in answer.items]
    # What nobody has rated counts as liked, and ratings of users are found by their items.
    shown = data.items.ids[data.history(4)[-3:]].tolist()
    nobody = model.score([shown], data.items.ids)[0]
    np.testing.assert_allclose(nobody, wanted[""], rtol=1e-4)
    known = model.score({"u004": shown}, data.items.ids)[0]
    np.testing.assert_allclose(known, wanted["u004"], rtol=1e-4)
    assert (data.rating[data.user == 4][-3:] <= 3).any()
    assert np.abs(nobody - known).max() > 1e-4


def test_only_allowed_items_are_asked_about_and_explained(run, model):
    _, data, wanted, _ = run
    few = data.items.ids[[4, 9, 20]].tolist()
    lists = model.recommend(users=USERS, top=3, allowed=few, exclude=few[:1], seen=True)
    for row, user in enumerate(USERS):
        best = sorted((9, 20), key=lambda item: -wanted[user][item])
        assert lists.numbers[row].tolist() == [*best, -1]
    history = data.items.ids[data.history(4)[-3:]].tolist()
    told = model.explain({"u004": history}, few[0])
    falls = [
        wanted["u004"][4] - model.score({"u004": history[:n] + history[n + 1 :]}, few[:1])[0, 0]
        for n in range(3)
    ]
    np.testing.assert_allclose(told.scores[0], sorted(falls, reverse=True), atol=1e-5)


def test_commands_recommend_to_one_and_to_many(run, model, tmp_path, capsys):
    path = run[0]
    assert main(["recommend", str(path), "--user", "u004", "--top", "3"]) == 0
    titles = model.recommend(users=["u004"], top=3).titles[0].tolist()
    printed = capsys.readouterr().out
    assert all(title in printed for title in titles)
    users = tmp_path / "users.csv"
    users.write_text("user\nu004\nu017\n")
    words = ["recommend", str(path), "--users", str(users), "--out", str(tmp_path / "out")]
    assert main([*words, "--top", "3"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["users"] == 2
    from pyarrow import parquet

    found = parquet.read_table(tmp_path / "out").to_pydict()["title"]
    assert found == model.recommend(users=USERS, top=3).titles.ravel().tolist()


def test_a_service_gives_the_same_lists_and_compiles_nothing_more(run, model):
    ids = run[1].items.ids
    check_engine(
        model,
        [
            {"users": USERS},
            {"histories": [ids[:1], ids[3:20]], "exclude": [ids[5:9], []]},
            {"users": USERS[:1], "allowed": ids[:8]},
        ],
    )
    served = open_items(run[0], "auto")
    assert served is not None and served.ranker.num_items == 30


def test_runs_of_other_questions_rank_nothing_and_say_why(tmp_path):
    pair = GlrecConfig(form="pair")
    with pytest.raises(ConfigError, match=r"which of two items .* --form point"):
        glrec.load_data(pair)
    with pytest.raises(ConfigError, match="which of two items"):
        glrec.open_ranker(pair, tmp_path, None)
    files = {f"{part}_file": "x" for part in ("train", "valid", "test")}
    for system, config in ((tallrec, TallrecConfig), (glrec, GlrecConfig)):
        with pytest.raises(ConfigError, match="trained on files of questions"):
            system.load_data(config(data=ClickDataConfig(**files)))


def test_users_are_kept_with_their_texts(tmp_path):
    from jaxrec.runs import read_kept
    from jaxrec.testing import tiny_interactions

    data = tiny_interactions(users=6, items=12)
    ages = np.array([str(20 + n) for n in range(6)], object)
    data = dataclasses.replace(data, user_fields={"age": ages})

    @dataclasses.dataclass
    class Parts:
        data: object

    keep_data(Parts(data), tmp_path)
    kept = read_kept(tmp_path)
    assert kept.dataset().interactions.user_fields["age"].tolist() == ages.tolist()
    rated = kept.ratings(np.array([4, 1]))
    assert [row.tolist() for row in rated] == [
        data.rating[data.user == user].tolist() for user in (4, 1)
    ]
    assert kept.rows(["u004", "nobody"]).tolist() == [4, -1]
