"""Every baseline by its name in a config, measured as a run measures it."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from jaxrec.baselines import pair_table, pairwise, popularity
from jaxrec.core import ConfigError, DataError, ProgressBar
from jaxrec.data import Dataset, Interactions, leave_one_out
from jaxrec.data.dataset import load_dataset
from jaxrec.eval import list_metrics
from jaxrec.items import text as item_text
from jaxrec.runs import baselines, compare
from jaxrec.runs.baselines import measure_baseline, measure_baselines, rank_by_scores
from jaxrec.runs.config import COUNTING, TRAINED, RankConfig
from jaxrec.runs.measured import Measured
from jaxrec.runs.protocol import heading, list_users, protocol_of, rank_users, ranking_batches
from jaxrec.runs.table import left_out_lines
from jaxrec.systems.generative import recommender as generative
from jaxrec.systems.generative.config import DecodeConfig, EvalConfig
from jaxrec.systems.generative.measure import measure_model
from jaxrec.testing import tiny_config, tiny_interactions, write_tiny_csv
from jaxrec.texts import AnswerOptions, CatalogueItem, Datum, Questions

SMALL = {
    "gru4rec": {"width": 8},
    "hstu": {"width": 8},
    "caser": {"width": 8, "image": 4},
    "bert4rec": {"width": 8},
    "dros": {"width": 8},
    "bpr": {"width": 8},
    "neumf": {"width": 4},
    "gru4rec_text": {"width": 8},
    "dros_text": {"width": 8},
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    config = tiny_config(write_tiny_csv(tmp_path_factory.mktemp("tiny")))
    for name, settings in SMALL.items():
        more = {} if name in ("bpr", "neumf") else {"max_items": 8}
        own = dataclasses.replace(
            getattr(config, name), train=config.sasrec.train, **settings, **more
        )
        config = dataclasses.replace(config, **{name: own})
    return config, load_dataset(config.data)


# One of each kind; the others are compared in tests/baselines.
QUICK = (*COUNTING, "gru4rec", "bpr")


@pytest.mark.parametrize(
    "name",
    [*QUICK, *(pytest.param(n, marks=pytest.mark.slow) for n in TRAINED if n not in QUICK)],
)
def test_is_fitted_and_ranks_every_user(name, tiny, tmp_path):
    config, dataset = tiny
    found = measure_baseline(name, config, dataset, tmp_path)
    assert found.metrics["ndcg@10"].shape == (dataset.num_users,)
    assert (found.metrics["hr@5"] <= found.metrics["hr@10"]).all()
    assert (found.parameters > 0) == (name in TRAINED)
    assert (tmp_path / "baselines" / name / "metrics.jsonl").exists() == (name in TRAINED)


def test_a_trained_baseline_belongs_to_its_run(tiny, tmp_path, monkeypatch):
    config, dataset = tiny
    monkeypatch.setattr(baselines, "run_identity", lambda _: {"data": "aa"})
    measure_baseline("bpr", config, dataset, tmp_path)
    monkeypatch.setattr(baselines, "run_identity", lambda _: {"data": "bb"})
    with pytest.raises(DataError, match=r"belongs to a run with other data \(aa, here bb"):
        measure_baseline("bpr", config, dataset, tmp_path)


def test_a_baseline_of_texts_reads_those_that_it_was_trained_with(tiny, tmp_path, monkeypatch):
    config, dataset = tiny
    first = measure_baseline("gru4rec_text", config, dataset, tmp_path)
    items = dataset.interactions.items
    kept = item_text.load_vectors(tmp_path / "baselines")
    fields = [name for name in config.ids.text_fields if name in items.fields]
    np.testing.assert_array_equal(kept, item_text.encode(items.text(*fields), None))
    # As if an encoder had been installed since: vectors as wide, of other items.
    encode = item_text.encode
    monkeypatch.setattr(item_text, "encode", lambda *words: encode(*words)[::-1])
    again = measure_baseline("gru4rec_text", config, dataset, tmp_path)
    np.testing.assert_array_equal(again.items, first.items)
    (tmp_path / "baselines" / "ids" / "text_vectors.npy").unlink()
    other = measure_baseline("gru4rec_text", config, dataset, tmp_path)
    assert (other.items != first.items).any()


def test_a_baseline_of_texts_needs_some_before_any_work(tiny, tmp_path):
    config, dataset = tiny
    config = dataclasses.replace(
        config,
        ids=dataclasses.replace(config.ids, text_fields=("plot",)),
        eval=EvalConfig(baselines=("dros_text",)),
    )
    with pytest.raises(DataError, match=r"none of the text fields plot \(ids\.text_fields\)"):
        generative.open_run(config, dataset, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_other_texts_are_another_baseline(tiny, tmp_path, monkeypatch):
    config, dataset = tiny
    hits = {"ndcg@10": np.zeros(dataset.num_users)}
    measured = Measured(
        metrics=hits,
        parameters=1,
        fit_seconds=0.0,
        test_seconds=0.0,
        items=np.zeros((dataset.num_users, 10), np.int32),
    )
    monkeypatch.setattr(compare.baselines, "measure_baseline", lambda *_: measured)
    compare.measure_baseline("gru4rec_text", config, dataset, tmp_path, 0)
    compare.measure_baseline("gru4rec_text", config, dataset, tmp_path, 0)
    ids = dataclasses.replace(config.ids, text_fields=("title",))
    config = dataclasses.replace(config, ids=ids)
    with pytest.raises(DataError, match="its texts differ"):
        compare.measure_baseline("gru4rec_text", config, dataset, tmp_path, 0)


def test_users_of_a_batch_are_rows_of_the_training_users(tiny):
    _, dataset = tiny
    train = dataset.split.train.sequences()
    seen = []
    for batch in ranking_batches(dataset, "test", True, size=16):
        for user, history in zip(batch["user"], batch["history"], strict=True):
            items = history[history >= 0]
            np.testing.assert_array_equal(items[:-1], train[user])
        seen += batch["user"][batch["valid"]].tolist()
    assert seen == list(range(dataset.num_users))


def test_baselines_over_pairs_are_those_that_read_users(tiny):
    config, _ = tiny
    pairs = {name for name in TRAINED if isinstance(getattr(config, name), pairwise.PairwiseConfig)}
    assert pairs == {"bpr", "neumf"}


def test_an_unknown_baseline_is_refused_by_name():
    with pytest.raises(
        ConfigError,
        match=r"no baseline 'gru' in eval\.baselines, did you mean 'gru4rec' or 'gru4rec_text'",
    ):
        EvalConfig(baselines=("gru",))


def test_a_baseline_that_cannot_run_is_left_out_with_its_reason(tiny, tmp_path, monkeypatch):
    config, dataset = tiny
    monkeypatch.setattr(pair_table, "MAX_PAIRS", 5)
    names = ("item_knn", "popularity", "markov")
    measured, left_out = measure_baselines(names, config, dataset, tmp_path)
    assert list(measured) == ["popularity"]
    assert list(left_out) == ["item_knn", "markov"]
    assert "more than 5 pairs of items does not fit in memory" in left_out["markov"]
    assert left_out_lines(left_out)[0].startswith("item_knn is left out: a table of more than 5")
    monkeypatch.setattr(popularity, "fit", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # a fault of the library is no reason
        measure_baselines(["popularity"], config, dataset, tmp_path)


@pytest.mark.parametrize("rule", ["ranked", "missed"])
def test_a_user_who_comes_back_to_an_item_is_measured_alike_everywhere(rule):
    # The last item of "u" is the first one too, and it has the best score of all.
    data = Interactions.from_columns(["u"] * 5 + ["v"] * 4, list("abcda") + list("dcbe"))
    dataset, best = Dataset(data, leave_one_out(data)), np.array([9.0, 8, 7, 6, 5])
    decode = DecodeConfig(repeated_target=rule)
    config = dataclasses.replace(tiny_config("unused.csv"), decode=decode)

    def found(histories, excluded, *_):
        rows = [[i for i in range(5) if i not in out] for out in excluded]
        return np.array([[*row, *[-1] * 10][:10] for row in rows]), np.zeros((len(rows), 10))

    def score(batch):
        return np.tile(best, (len(batch["target"]), 1))

    class Answerer:
        def recommend(self, prompts, *, beams, excluded):
            return found(prompts, excluded)

    generated = measure_model(
        SimpleNamespace(recommend=found, params={"params": {}}), config, dataset, 0.0
    )[0]
    ranked = rank_by_scores(score, config, dataset, 0, 0.0)
    split, options = dataset.split, AnswerOptions(repeated_target=rule)
    asked = [
        Datum(history=history, item=int(target))
        for history, target in zip(split.history("test"), split.target("test"), strict=True)
    ]
    questions = Questions(data=asked, prompts=["", ""])
    answers = CatalogueItem().answer(Answerer(), questions, options)
    hit = [1.0, 1.0] if rule == "ranked" else [0.0, 1.0]
    assert generated.metrics["hr@5"].tolist() == ranked.metrics["hr@5"].tolist() == hit
    assert list_metrics(answers, questions.targets)["hr@5"].tolist() == hit
    np.testing.assert_array_equal(generated.items, ranked.items)
    named = "is ranked: 1 user" if rule == "ranked" else "is a miss: 1 user"
    assert named in heading(protocol_of(config, dataset))


def test_a_measurement_without_the_rule_can_be_read_only_where_no_user_repeats(tmp_path):
    measured = Measured(
        metrics={"hr@10": np.ones(2)},
        parameters=0,
        fit_seconds=0.0,
        test_seconds=0.0,
        items=np.zeros((2, 1), np.int32),
    )
    measured.save(tmp_path / "old.npz", {"users": 2})
    rule = {"users": 2, "repeated_target": "ranked"}
    compare.load(tmp_path / "old.npz", rule | {"repeated_users": 0})
    with pytest.raises(DataError, match="its repeated_target, repeated_users differ"):
        compare.load(tmp_path / "old.npz", rule | {"repeated_users": 1})


def test_users_are_ranked_in_their_order_however_long_one_history_is():
    rng = np.random.default_rng(0)
    lengths = [5, 700, 4, 3000, 6, 8, *rng.integers(4, 40, 60)]
    user = np.repeat([f"u{n:02d}" for n in range(len(lengths))], lengths)
    data = Interactions.from_columns(user, rng.integers(0, 30, len(user)).astype(str))
    dataset, table = Dataset(data, leave_one_out(data)), rng.random((30, 30))

    def score(batch):
        widths.add(batch["history"].shape)
        return table[batch["history"][:, -1]]

    widths: set[tuple[int, int]] = set()
    decode = RankConfig()
    metrics = rank_users(score, dataset, "test", decode, (5,), users=np.arange(1, 66))
    lists = list_users(score, dataset, "test", decode, 5)
    assert max(rows * width for rows, width in widths) <= 256 * 64
    for number in range(66):
        history = dataset.split.history("test")[number]
        target = dataset.split.test_target[number]
        left = set(range(30)) - set(history.tolist()) | {target}
        best = sorted(left, key=lambda item: -table[history[-1], item])
        assert lists[number].tolist() == [*best, *[-1] * 5][:5]
        if number:
            assert metrics["mrr"][number - 1] == pytest.approx(1 / (best.index(target) + 1))


def test_an_unknown_rule_for_repeated_targets_is_refused():
    with pytest.raises(ConfigError, match=r"decode\.repeated_target='kept'; available: "):
        RankConfig(repeated_target="kept")


def test_a_ranking_reports_each_user_once(capsys):
    data = tiny_interactions(users=67, items=14)
    dataset = Dataset(data, leave_one_out(data))

    def score(batch):
        return np.tile(np.arange(14.0), (len(batch["user"]), 1))

    # Rows that fill up a batch are no users; a total of one more shows that each counts once.
    with ProgressBar("validate", 68, "user", every=0, counts=True):
        rank_users(score, dataset, "valid", RankConfig(), (5,))
    assert capsys.readouterr().err.splitlines()[-1].startswith("validate: 67/68")
