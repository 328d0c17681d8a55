"""P5 from the config to the tables, on tiny data."""

import dataclasses
import itertools
import json

import jax
import numpy as np
import pytest

from jaxrec.cli.eval import show
from jaxrec.core import ConfigError, ProgressBar
from jaxrec.data.dataset import load_dataset
from jaxrec.decode import Answers
from jaxrec.eval import list_metrics
from jaxrec.items.config import IdConfig
from jaxrec.models import WORDS, TransformerConfig
from jaxrec.runs.config import SampledEvalConfig, SearchConfig
from jaxrec.runs.directory import TEST_FILE, load_run
from jaxrec.runs.measured import Measured
from jaxrec.runs.system import Options, config_class
from jaxrec.systems.p5 import questions as p5_questions, run as p5, tables as p5_tables
from jaxrec.systems.p5.config import P5Config
from jaxrec.systems.p5.tested import rank_all, recommend_items
from jaxrec.testing import tiny_config, write_tiny_csv
from jaxrec.train import TrainConfig

ALL = (
    "sequential",
    "straightforward",
    "direct_choose",
    "direct_yesno",
    "rating",
    "explanation",
    "review_title",
    "review_star",
)


def _config(path, tasks=("sequential",), steps=4, **changes):
    config = P5Config(
        max_items=4,
        tasks=tasks,
        rows=(8,) * len(tasks),
        candidates=12,
        text_tokens=500,
        data=tiny_config(path).data,
        ids=IdConfig(scheme="random", levels=2, size=8),
        model=TransformerConfig(
            width=16, depth=1, num_heads=2, positions="relative", activation="relu", gated=False,
            word_rows=32,
        ),
        train=TrainConfig(
            steps=steps, batch_size=8 * len(tasks), lr=1e-2, warmup_steps=1, eval_every=steps,
            log_every=2,
        ),
        decode=SearchConfig(beams=10, batch_size=64),
        eval=SampledEvalConfig(baselines=("popularity", "markov"), resamples=50),
    )  # fmt: skip
    return dataclasses.replace(config, **changes)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    directory = tmp_path_factory.mktemp("p5")
    config = _config(write_tiny_csv(directory))
    p5.train(config, directory / "run", Options())
    report = p5.evaluate(config, directory / "run", baselines=config.eval.baselines)
    return config, directory / "run", report


@pytest.fixture(scope="module")
def trained_on_all(tmp_path_factory):
    directory = tmp_path_factory.mktemp("p5")
    config = _config(write_tiny_csv(directory), ALL)
    p5.train(config, directory / "run", Options())
    return config, directory / "run"


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A run on data where the next item and the liking are functions of the item."""
    directory = tmp_path_factory.mktemp("planted")
    rng, rows = np.random.default_rng(0), ["user_id,movie_id,stars,when"]
    ring = rng.permutation(20)
    for user in range(60):
        first = int(rng.integers(20))
        for place in range(8):
            item = int(ring[(first + place) % 20])
            rows.append(f"u{user},i{item},{5 if item % 2 else 1},{place}")
    path = directory / "planted.csv"
    path.write_text("\n".join(rows) + "\n")
    config = _config(path, ("sequential", "rating_like"))
    data = dataclasses.replace(config.data, from_file=str(path), item_table="", min_count=0)
    config = dataclasses.replace(
        config,
        data=data,
        rows=(32, 32),
        ids=IdConfig(scheme="independent"),
        user_names="numbers",
        model=dataclasses.replace(config.model, width=32, word_rows=0),
        train=TrainConfig(
            steps=250, batch_size=64, lr=1e-2, warmup_steps=20, eval_every=250, log_every=250
        ),
    )
    p5.train(config, directory / "run", Options())
    return p5.load(config, directory / "run")


def test_a_validation_reports_every_question(trained, capsys):
    config, directory, _ = trained
    tested = p5.load(config, directory)
    asked = p5_questions.validation(config, tested.data)
    total = sum(len(questions.prompts) for questions in asked.values())
    # A total of one more shows that each question counts once.
    with ProgressBar("validate", total + 1, "question", every=0, counts=True):
        p5_questions.validate(tested.prompted, asked, config)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"validate: {total}/{total + 1}")


def test_the_model_learns_which_item_comes_next(learned):
    task = learned.tasks["sequential"]
    for wording in ("seen", "unseen"):
        asked = learned.questions(task, wording)
        found = rank_all(learned, task, asked, False)
        # Chance is 1 in 20, and so is popularity: every item of the ring is as frequent.
        assert (found.items[:, 0] == asked.targets).mean() > 0.7
    counts = np.bincount(learned.data.dataset.split.train.item, minlength=20)
    popular = np.argsort(-counts)[0]
    assert (popular == asked.targets).mean() < 0.2


def test_the_model_learns_which_items_are_liked(learned):
    rows = p5_tables.choice_table(learned, learned.tasks["rating_like"])["rows"]
    for name in ("model", "model, unseen wording"):
        assert rows[name]["metrics"]["auc"] > 0.95
        assert rows[name]["metrics"]["accuracy"] > 0.9
        low, high = rows[name]["intervals"]["accuracy"]
        assert low <= rows[name]["metrics"]["accuracy"] <= high
    assert rows["commonest answer"]["metrics"]["accuracy"] < 0.7
    # Every user gives an item the same stars, so the mean tells all, and popularity nothing.
    assert rows["item mean"]["metrics"]["accuracy"] == 1.0
    assert abs(rows["popularity"]["metrics"]["auc"] - 0.5) < 0.2


def test_recommendations_follow_the_history_that_is_given(learned):
    train = learned.data.dataset.split.train.sequences()
    after = {int(a): int(b) for history in train for a, b in itertools.pairwise(history)}
    histories = [np.array([item]) for item in range(20)]
    items, scores = recommend_items(learned, [0] * 20, histories, top=3, filter_seen=False)
    assert np.mean([items[item, 0] == after[item] for item in range(20)]) > 0.9
    assert (np.diff(scores) <= 0).all()
    filtered, _ = recommend_items(learned, [0] * 20, [np.array([after[0], 0])] * 20, top=10)
    assert not {0, after[0]} & set(filtered[0].tolist())
    with pytest.raises(ConfigError, match=r"top must lie between 1 and decode\.beams, 10; got 11"):
        recommend_items(learned, [0], histories[:1], top=11)


@pytest.mark.slow
def test_a_run_of_all_families_has_all_tables(trained_on_all):
    config, directory = trained_on_all
    report = p5.evaluate(config, directory, baselines=config.eval.baselines)
    json.dumps(report)
    assert list(report["tables"]) == [
        "sequential, seen items removed",
        "sequential, seen items kept",
        "straightforward, seen items removed",
        "straightforward, seen items kept",
        "direct_choose, 1 of 12",
        "direct_yesno",
        "direct_choose, order of the candidates",
        "rating",
        "texts on synthetic reviews",
        "legal answers, with the trie and without",
    ]
    rates = report["tables"]["legal answers, with the trie and without"]
    for task in ("sequential", "straightforward", "direct_choose"):
        assert rates[f"{task}, trie"]["hallucination"] == 0.0
        assert rates[f"{task}, trie"]["compliance"] == 1.0
        assert 0 <= rates[f"{task}, free"]["hallucination"] <= 1
    choice = report["tables"]["direct_yesno"]
    assert {"commonest answer", "popularity", "item mean"} < set(choice["rows"])
    assert choice["rows"]["model"]["intervals"].keys() >= {"accuracy", "auc"}
    systems = {"model", "model, unseen wording", "popularity", "markov"}
    assert set(report["rows"]) == systems
    assert set(report["tables"]["sequential, seen items kept"]["rows"]) == systems | {
        "model, free beam"
    }
    direct = report["tables"]["direct_choose, 1 of 12"]["rows"]
    assert set(direct) == {
        "model",
        "model, unseen wording",
        "model, slots shuffled",
        "model, candidates not shown",
        "model, yes or no",
        "popularity",
    }
    assert all(name.endswith("|11") for row in direct.values() for name in row["metrics"])
    rating = report["tables"]["rating"]
    assert {"item mean", "user and item bias", "model, greedy text, unseen wording"} < set(rating)
    assert rating["model, greedy text, seen wording"].keys() == {"rmse", "mae", "parsed"}
    assert any("with a hint" in name for name in report["tables"]["texts on synthetic reviews"])
    assert set(report["leaks"]) == {"max_plus_one", "max_plus_one_of_ids"}
    assert any(line.startswith("leak audit") for line in report["lines"])


def test_the_first_table_stands_beside_baselines_of_the_same_protocol(trained):
    _, _, report = trained
    kept = report["tables"]["sequential, seen items kept"]["rows"]
    assert set(kept) - set(report["rows"]) == {"model, free beam"}
    assert report["rows"]["popularity"]["metrics"] != kept["popularity"]["metrics"]
    assert [row["baseline"] for row in report["comparisons"]] == [
        "model, unseen wording",
        "popularity",
        "markov",
    ]
    assert 0 <= report["leaks"]["max_plus_one_of_ids"] <= 1


def test_a_run_directory_is_read_back_as_it_was(trained):
    config, directory, _ = trained
    assert load_run(directory) == config
    assert config_class("p5") is P5Config
    measured, facts = Measured.load(directory / TEST_FILE)
    assert facts["users"] == 40
    assert measured.items.shape == (40, 10)
    dataset = load_dataset(config.data)
    for row, history in zip(measured.items, dataset.split.history("test"), strict=True):
        assert not set(row.tolist()) & set(history.tolist())
    again = list_metrics(measured.items, dataset.split.test_target, config.eval.ks)
    np.testing.assert_array_equal(measured.metrics["ndcg@10"], again["ndcg@10"])
    with pytest.raises(ConfigError, match="candidates was 12 and is 13"):
        p5.load(dataclasses.replace(config, candidates=13), directory)


@pytest.mark.slow
def test_a_run_without_a_ranking_has_a_table_all_the_same(tmp_path):
    config = _config(write_tiny_csv(tmp_path), ("rating",), steps=1)
    p5.train(config, tmp_path / "run", Options())
    report = p5.evaluate(config, tmp_path / "run", baselines=config.eval.baselines)
    assert report["rows"]["model"]["metrics"] == {}
    assert not (tmp_path / "run" / TEST_FILE).exists()
    show(report)
    with pytest.raises(ConfigError, match="no task of rating ranks the whole catalogue"):
        p5.rank(config, tmp_path / "run")


@pytest.mark.slow
def test_popularity_on_candidates_is_what_counting_says(trained_on_all):
    config, directory = trained_on_all
    tested = p5.load(config, directory)
    task = tested.tasks["direct_choose"]
    table, slots = p5_tables.candidate_table(tested, task)
    assert {"ndcg@3|11", "ndcg@5|11"} < set(table["rows"]["model, slots shuffled"]["metrics"])
    assert 0 <= slots["model"]["same_choice"] <= 1
    asked = tested.questions(task, "seen")
    train = tested.data.dataset.split.train.item.tolist()
    hits = []
    for row, target in zip(asked.candidates.tolist(), asked.targets.tolist(), strict=True):
        counts = sorted((train.count(item) for item in row), reverse=True)
        mine = train.count(target)
        # The mean rank of those with as many.
        tied = [place for place, count in enumerate(counts) if count == mine]
        hits.append(np.mean(tied) < 5)
    assert table["rows"]["popularity"]["metrics"]["hr@5|11"] == pytest.approx(np.mean(hits))
    # A prompt shows its candidates, and the trie gives no others.
    items = rank_all(tested, task, asked, True).items
    for row, offered in zip(items, asked.candidates, strict=True):
        assert set(row.tolist()) <= set(offered.tolist())


@pytest.mark.slow
def test_ratings_are_the_mean_over_all_rating_texts(trained_on_all):
    config, directory = trained_on_all
    tested = p5.load(config, directory)
    task = tested.tasks["rating"]
    asked = p5_questions.held_out_questions(tested.data, task, "test", tested.data.ratings.test[:3])
    found = task.answer.answer(tested.prompted, asked, p5_questions.options_of(config))
    for prompt, mean in zip(asked.prompts, found, strict=True):
        total = weight = 0.0
        for tenths in range(10, 51):
            share = np.exp(tested.prompted.score([prompt], [f"{tenths / 10:.1f}"])[0, 0])
            total += share * (1 if tenths < 15 else min(5, (tenths + 5) // 10))
            weight += share
        assert mean == pytest.approx(total / weight, abs=1e-3)


@pytest.mark.slow
def test_names_as_text_learn_and_are_found(tmp_path):
    config = _config(
        write_tiny_csv(tmp_path),
        item_names="numbers",
        user_names="numbers",
        text_tokens=520,
    )
    p5.train(config, tmp_path / "run", Options())
    tested = p5.load(config, tmp_path / "run")
    prompted = tested.prompted
    assert prompted.items.catalogue.vocabulary.shared
    assert set(np.unique(prompted.variables[WORDS]["kinds"])) == {-1, 0, 1}
    texts = [
        prompted.tokenizer.decode(row, skip_special_tokens=True) for row in prompted.items.tokens
    ]
    assert texts == tested.data.names.items
    report = p5.evaluate(config, tmp_path / "run", baselines=())
    assert set(report["rows"]) == {"model", "model, unseen wording"}


def test_without_whole_words_there_is_no_table_of_them(tmp_path):
    config = _config(write_tiny_csv(tmp_path), steps=1)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, word_rows=0))
    parts = p5.open_run(config, load_dataset(config.data), tmp_path / "run", write=False)
    assert not (tmp_path / "run").exists()
    shapes = jax.eval_shape(parts.prompted.init, jax.random.key(0))
    assert "word" not in shapes["params"]["embedding"]
    assert parts.prompted.variables == {}
    assert isinstance(parts.prompted.items, Answers)
    # The last tokens are the users, who are never written.
    shape, names = parts.prompted.model.config, parts.data.names.users
    last = parts.prompted.tokenizer.convert_ids_to_tokens(
        range(shape.vocab_size - shape.read_only, shape.vocab_size)
    )
    assert last == names


def test_settings_of_histories_reach_the_prompts_of_training_and_test(tmp_path):
    config = _config(write_tiny_csv(tmp_path), max_targets=1, history_users=False)
    dataset = load_dataset(config.data)
    parts = p5.open_run(config, dataset, tmp_path / "run", write=False)
    (task,) = parts.mixture.tasks
    assert task.size == dataset.num_users
    names, asked = parts.data.names, p5_questions.validation(config, parts.data)["sequential"]
    last = [history[-1] for history in dataset.split.train.sequences()]
    # One datum a user, in an order of its own: the last training item of each.
    answers = [task.example(0, place)[1] for place in range(task.size)]
    assert sorted(answers) == sorted(names.items[item] for item in last)
    for text in (*asked.prompts, *(task.example(0, place)[0] for place in range(task.size))):
        assert "someone" in text and "<user_" not in text


def test_settings_that_contradict_one_another_are_refused(tmp_path):
    path = write_tiny_csv(tmp_path)
    with pytest.raises(ConfigError, match="no task 'ratings'"):
        _config(path, ("ratings",))
    with pytest.raises(ConfigError, match=r"rows \(8, 8\) must be one number"):
        _config(path, rows=(8, 8))
    with pytest.raises(ConfigError, match="--max-targets must be at least 0, got -1"):
        P5Config(max_targets=-1)
    with pytest.raises(ConfigError, match="groups must be at least 1, got 0"):
        P5Config(groups=0)
    with pytest.raises(ConfigError, match=r"model\.read_only is 3, but it follows from"):
        _config(path, model=dataclasses.replace(P5Config.model, read_only=3))
    with pytest.raises(ConfigError, match=r"eval\.baselines of P5 must be of"):
        _config(path, eval=SampledEvalConfig(baselines=("sasrec",)))
