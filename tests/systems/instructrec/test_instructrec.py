"""InstructRec from the config to the tables, on planted data."""

import dataclasses
import itertools
import json

import numpy as np
import pytest

from jaxrec.baselines import SasrecConfig
from jaxrec.core import ConfigError, DataError
from jaxrec.data import DataConfig, load_dataset
from jaxrec.models import TransformerConfig
from jaxrec.runs import Options, RecommendRequest
from jaxrec.systems.instructrec import (
    InstructRecConfig,
    InstructRecEvalConfig,
    run,
    tested as tested_runs,
)
from jaxrec.systems.instructrec.candidates import hard_sets, random_sets
from jaxrec.systems.instructrec.measure import RIGHT, WRONG
from jaxrec.systems.instructrec.tested import SEQUENTIAL, in_groups
from jaxrec.testing import random_params
from jaxrec.texts import AnswerOptions, Datum, candidate_metrics
from jaxrec.train import TrainConfig

TASKS = {
    SEQUENTIAL: 20, "P1-I2-T2": 32, "P0-I0-T2": 2, "P1-I0-T3": 2, "P1-I0-T0": 4, "chain-P1-I0": 4,
}  # fmt: skip
ITEMS, USERS = 24, 80


def _write_planted(directory):
    """Users walk along a ring, by one place or by two; the genres of both differ."""
    rng = np.random.default_rng(0)
    ring = rng.permutation(ITEMS)
    rows, place = ["user,item,stars,when"], 0
    for user in range(USERS):
        place = int(rng.integers(ITEMS))
        for time in range(9):
            rows.append(f"u{user},i{ring[place % ITEMS]},{int(rng.integers(1, 6))},{time}")
            place += int(rng.integers(1, 3))
    (directory / "planted.csv").write_text("\n".join(rows) + "\n")
    # A film and its namesake.
    items = ["item,title,genres"] + [
        f"i{item},Film {number // 2},{('Drama', 'Horror')[number % 2]}"
        for number, item in enumerate(ring)
    ]
    (directory / "items.csv").write_text("\n".join(items) + "\n")
    return DataConfig(
        name="planted", from_file=str(directory / "planted.csv"), time_column="when",
        rating_column="stars", item_table=str(directory / "items.csv"), min_count=0,
    )  # fmt: skip


def _config(data, steps=200, **changes):
    config = InstructRecConfig(
        max_items=4,
        tasks=tuple(TASKS),
        rows=tuple(TASKS.values()),
        candidates=6,
        text_tokens=480,
        data=data,
        model=TransformerConfig(
            width=32, depth=1, num_heads=2, positions="relative", activation="relu", gated=False
        ),
        train=TrainConfig(
            steps=steps, batch_size=sum(TASKS.values()), lr=1e-2, warmup_steps=20,
            eval_every=steps, log_every=steps,
        ),
        sasrec=SasrecConfig(
            width=8, depth=1, max_items=4,
            train=TrainConfig(steps=4, batch_size=8, eval_every=4, log_every=4, warmup_steps=1),
        ),
        eval=InstructRecEvalConfig(many=10, resamples=50, batch_size=64),
    )  # fmt: skip
    return dataclasses.replace(config, **changes)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    directory = tmp_path_factory.mktemp("instructrec")
    config = _config(_write_planted(directory))
    run.train(config, directory / "run", Options())
    report = run.evaluate(config, directory / "run", baselines=config.eval.baselines)
    return config, directory / "run", report


@pytest.mark.slow
def test_the_right_intention_helps_and_a_wrong_one_harms(trained):
    _, _, report = trained
    rows = {name: row["metrics"]["hr@1|5"] for name, row in report["rows"].items()}
    # Two films may come next, of which the genre tells one.
    assert rows[RIGHT] > rows["model"] + 0.15 and rows[RIGHT] > 0.8
    assert rows[WRONG] < rows["model"] - 0.15
    assert rows["model"] > rows["popularity"] + 0.1
    gain = report["rows"][WRONG]["metrics"]["gain_hr@1|5"]
    assert gain == pytest.approx(rows[WRONG] - rows["model"])
    low, high = report["rows"][WRONG]["intervals"]["gain_hr@1|5"]
    assert low < gain < high < 0
    assert "gain_hr@1|5" not in report["rows"]["model"]["metrics"]


@pytest.mark.slow
def test_a_report_has_all_tables_and_is_json(trained):
    _, _, report = trained
    assert list(report["tables"]) == [
        "5 random negatives", "normalization", "hard negatives by cooccurrence",
        "hard negatives by popularity", "10 candidates", "other tasks",
    ]  # fmt: skip
    json.dumps(report)
    hard = report["tables"]["hard negatives by cooccurrence"]["rows"]
    # The negatives are what this baseline ranks highest.
    easy = report["rows"]["cooccurrence"]["metrics"]["hr@1|5"]
    assert hard["cooccurrence"]["metrics"]["hr@1|5"] < easy
    assert {"sasrec", "popularity", "model"} <= set(hard)
    assert list(report["values"]) == list(report["rows"]["model"]["metrics"])
    assert np.mean(report["values"]["hr@1|5"]) == report["rows"]["model"]["metrics"]["hr@1|5"]
    sums = report["tables"]["normalization"]["rows"]
    # Each title is one token, so its mean is its sum.
    assert sums["mean, no intention"]["metrics"] == sums["sum, no intention"]["metrics"]
    assert sums["sum, no intention"]["metrics"]["hr@1|5"] == sums["model"]["metrics"]["hr@1|5"]
    assert 0 <= report["tables"]["other tasks"]["P1-I0-T0"]["accuracy"] <= 1


def test_scores_of_candidates_are_those_of_the_search_over_all_items(tmp_path):
    config = _config(_write_planted(tmp_path))
    parts = run.open_run(config, load_dataset(config.data), tmp_path / "run", write=False)
    params = random_params(parts.prompted.model, scale=0.3)
    tested = tested_runs.Tested(
        config=config,
        data=parts.data,
        tasks=parts.tasks,
        prompted=parts.prompted.with_params(parts.prompted.join(params)),
    )
    sets = random_sets(tested.data, "test", 6, np.arange(10))
    scores = tested.by_title(SEQUENTIAL, sets)
    questions = tested._ask(SEQUENTIAL, sets)
    items, found = tested.prompted.recommend(questions.prompts, beams=ITEMS)
    table = np.zeros((10, ITEMS))
    np.put_along_axis(table, items, found, axis=1)
    np.testing.assert_allclose(
        scores, np.take_along_axis(table, questions.candidates, axis=1), atol=1e-4
    )
    prior = tested.by_title(SEQUENTIAL, sets, normalization="pmi")
    np.testing.assert_allclose(prior, scores - tested.prior[questions.candidates])


@pytest.mark.slow
def test_a_chain_of_thought_writes_a_preference_and_then_scores(trained):
    config, directory, _ = trained
    tested = run.load(config, directory)
    sets = random_sets(tested.data, "test", 6, np.arange(6))
    questions = tested._ask("chain-P1-I0", sets)
    texts = tested.tasks["chain-P1-I0"].answer.answer(
        tested.prompted, questions, AnswerOptions(max_tokens=16)
    )
    assert all(text.startswith("likes ") and " so" not in text for text in texts)
    assert tested.by_thought("chain-P1-I0", sets).shape == (6, 6)


@pytest.mark.slow
def test_recommendations_are_new_to_the_user(trained):
    config, directory, _ = trained
    found = run.recommend(config, directory, RecommendRequest("u3", top=5))
    data = load_dataset(config.data)
    met = set(data.interactions.history(data.interactions.user_ids.tolist().index("u3")).tolist())
    assert len(found.items) == 5 and not met & {item.item for item in found.items}
    scores = [item.score for item in found.items]
    assert scores == sorted(scores, reverse=True)


def test_candidates_hold_the_target_and_nothing_else_that_the_user_met(tmp_path):
    config = _config(_write_planted(tmp_path))
    parts = run.open_run(config, load_dataset(config.data), tmp_path / "run", write=False)
    split = parts.data.dataset.split
    everyone = np.arange(USERS)
    for stage, sets in itertools.chain(
        ((stage, random_sets(parts.data, stage, 6, everyone)) for stage in ("valid", "test")),
        (("test", hard_sets(parts.data, "test", 6, by)) for by in ("cooccurrence", "popularity")),
    ):
        for user, one in enumerate(sets):
            assert one.user == user and one.item == split.target(stage)[user]
            met = {*split.history("test")[user].tolist(), split.test_target[user]}
            assert len(set(one.candidates.tolist())) == 6
            assert met & set(one.candidates.tolist()) == {one.item}
    counts = np.bincount(split.train.item, minlength=ITEMS)
    for one in hard_sets(parts.data, "test", 6, "popularity"):
        met = {*split.history("test")[one.user].tolist(), one.item}
        free = [item for item in range(ITEMS) if item not in met]
        gaps = sorted(abs(counts[item] - counts[one.item]) for item in free)[:5]
        shown = [item for item in one.candidates.tolist() if item != one.item]
        assert sorted(abs(counts[item] - counts[one.item]) for item in shown) == gaps


def test_groups_end_with_the_best_of_their_winners():
    rng = np.random.default_rng(0)
    worth = rng.permutation(100)
    sets = [Datum(candidates=rng.permutation(100)[:30], item=-1) for _ in range(20)]
    sets = [dataclasses.replace(one, item=int(one.candidates[3])) for one in sets]
    asked = []

    def rank(shown):
        asked.append({len(one.candidates) for one in shown})
        return np.stack([worth[one.candidates] for one in shown]).astype(float)

    scores = in_groups(rank, sets, 7)
    assert asked and all(max(sizes) <= 7 for sizes in asked)
    whole = rank(sets)
    # A ranking that does not depend on the group has the same first item, whatever the groups.
    np.testing.assert_array_equal(scores.argmax(axis=1), whole.argmax(axis=1))
    assert (np.isfinite(scores).sum(axis=1) == 5).all()
    assert candidate_metrics(scores, sets, (1,))["hr@1"].tolist() == (
        candidate_metrics(whole, sets, (1,))["hr@1"].tolist()
    )


def test_titles_are_written_in_words_and_namesakes_differ(tmp_path):
    config = _config(_write_planted(tmp_path), item_names="titles")
    parts = run.open_run(config, load_dataset(config.data), tmp_path / "run", write=False)
    names = parts.data.names.items
    assert len(set(names)) == ITEMS and sum(name.endswith(" #2") for name in names) == ITEMS // 2
    assert parts.prompted.items.lengths.min() > 2
    source, target = parts.mixture.tasks[0].example(0, 0)
    assert target in names and " ; " in "".join(
        parts.mixture.tasks[0].example(0, place)[0] for place in range(9)
    ), source


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tasks": ("P1-I2-T2",), "rows": (64,)}, "must include P1-I0-T2"),
        ({"rows": (1, 2)}, "one number for each of 6 tasks"),
        ({"tasks": (SEQUENTIAL, "P1-I0-T4")}, "no task 'P1-I0-T4' in tasks, did you mean"),
        ({"tune": {"method": "lora"}}, "trains a part of the parameters"),
        ({"tune": {"base": "somewhere"}}, "set item_names titles"),
        ({"eval": {"many": 6}}, r"eval\.many 6 must be above candidates 6"),
        ({"eval": {"hard": ("near",)}}, "no hard negatives 'near'"),
        ({"eval": {"baselines": ("gru4rec",)}}, "eval.baselines of InstructRec"),
    ],
)
def test_settings_that_contradict_one_another_are_refused(changes, words):
    config = _config(DataConfig())
    with pytest.raises(ConfigError, match=words):
        made = {
            name: dataclasses.replace(getattr(config, name), **value)
            if isinstance(value, dict)
            else value
            for name, value in changes.items()
        }
        dataclasses.replace(config, **made)


def test_more_candidates_than_new_items_and_items_without_genres_are_refused(tmp_path):
    data = _write_planted(tmp_path)
    config = _config(data, candidates=20, eval=InstructRecEvalConfig(many=0))
    with pytest.raises(ConfigError, match="candidates is 20, and a user has met 9 of 24"):
        run.open_run(config, load_dataset(data), tmp_path / "run", write=False)
    every = ["user,item,rating,time", *(f"u0,i{n},4,{n}" for n in range(4))]
    (tmp_path / "every.csv").write_text("\n".join(every) + "\n")
    (tmp_path / "genres.csv").write_text("item,genres\n" + "".join(f"i{n},a\n" for n in range(4)))
    whole = DataConfig(
        name="every",
        from_file=str(tmp_path / "every.csv"),
        item_table=str(tmp_path / "genres.csv"),
        min_count=0,
    )
    with pytest.raises(ConfigError, match="has met 4 of 4 items; give more items"):
        run.open_run(
            dataclasses.replace(config, data=whole),
            load_dataset(whole),
            tmp_path / "r",
            write=False,
        )
    bare = dataclasses.replace(data, item_table="")
    with pytest.raises(DataError, match="intentions are made of the item field 'genres'"):
        run.open_run(_config(bare), load_dataset(bare), tmp_path / "run", write=False)
    with pytest.raises(DataError, match=r"tune\.base nowhere does not exist"):
        tune = dataclasses.replace(config.tune, base="nowhere")
        run.train(
            dataclasses.replace(config, tune=tune, item_names="titles"), tmp_path / "r", Options()
        )
