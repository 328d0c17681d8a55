"""TALLRec end to end on data whose likes follow a rule, and its controls."""

import dataclasses
import json
import runpy

import chex
import jax
import numpy as np
import pytest

from jaxrec.cli.configs import find_config
from jaxrec.cli.loading import load_sweep_file
from jaxrec.cli.main import main
from jaxrec.core import ConfigError
from jaxrec.data.clicks import ClickWindows
from jaxrec.eval.clicks import pooled_auc, within_user_auc
from jaxrec.runs.directory import load_run
from jaxrec.runs.sweep_rows import Row
from jaxrec.runs.sweep_table import sweep_report
from jaxrec.systems.generative.config import EvalConfig
from jaxrec.systems.tallrec.config import TallrecConfig
from jaxrec.systems.tallrec.questions import stages_of
from jaxrec.systems.tallrec.serving import like_probabilities
from jaxrec.texts import click_prompts, clicks as click_table, load_click_run
from jaxrec.texts.tuned import TextModel

CONFIG = """
from jaxrec.data import DataConfig
from jaxrec.models import TransformerConfig
from jaxrec.systems.tallrec import ClickEvalConfig, TallrecConfig
from jaxrec.train import TrainConfig

def get_config():
    return TallrecConfig(
        data=DataConfig(
            name="rule", from_file={path!r}, rating_column="stars", time_column="when", min_count=0
        ),
        split="users",
        history=4,
        instructions={instructions!r},
        on_prompt=False,
        parts=1,
        title_steps=2,
        instruct=TrainConfig(steps=2, batch_size=4, eval_every=2),
        train=TrainConfig(steps=2, batch_size=32, lr=1e-2, warmup_steps=1, eval_every=2),
        model=TransformerConfig(width=32, depth=1, num_heads=2),
        vocab_size=300,
        eval=ClickEvalConfig(baselines=("gru4rec",), resamples=50),
    )
"""


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    """Half of the items are liked by all users, and the others by none."""
    directory = tmp_path_factory.mktemp("rule")
    rng = np.random.default_rng(0)
    rows = ["user,item,stars,when"]
    for user in range(40):
        for place, item in enumerate(rng.permutation(12)[:10].tolist()):
            rows.append(f"u{user},i{item},{5 if item % 2 else 1},{place}")
    data, first = directory / "ratings.csv", directory / "first.json"
    data.write_text("\n".join(rows) + "\n")
    first.write_text(json.dumps([{"instruction": "Count.", "output": "One, two."}] * 3))
    file = directory / "rule.py"
    file.write_text(CONFIG.format(path=str(data), instructions=str(first)))
    return file


@pytest.fixture(scope="module")
def finished(config_file):
    directory = config_file.parent / "run"
    assert main(["train", str(config_file), "--run-dir", str(directory)]) == 0
    assert main(["eval", str(directory), "--no-baselines"]) == 0
    return directory


@pytest.mark.slow
def test_controls_stand_beside_the_model(finished):
    rows = json.loads((finished / "eval.json").read_text())["rows"]
    assert next(iter(rows)) == "model"
    assert rows["item mean"]["metrics"]["auc"] == 1.0
    assert {"liked titles", "untuned", "answers in the other order"} <= set(rows)


def test_the_values_per_user_are_those_of_the_model_on_the_test_windows(finished):
    report = json.loads((finished / "eval.json").read_text())
    test = load_click_run(load_run(finished)).test
    for metric, value in report["rows"]["model"]["metrics"].items():
        assert len(report["values"][metric]) == len(np.unique(test.user))
        assert np.mean(report["values"][metric]) == pytest.approx(value)


def test_the_sweep_of_few_examples_tests_metrics_that_have_a_value_per_user(finished):
    report = json.loads((finished / "eval.json").read_text())
    sweep = load_sweep_file(find_config("tallrec/shots"))
    assert set(sweep.metrics) == set(report["values"])
    # Two variants that differ by a tenth for every user.
    rows = {}
    for name, gain in (("all", 0.0), ("256", 0.1)):
        values = {metric: np.array(v) + gain for metric, v in report["values"].items()}
        metrics = {metric: float(v.mean()) for metric, v in values.items()}
        rows[name] = [{"": Row(metrics=metrics, intervals={}, values=values)}]
    tests = sweep_report(rows, sweep.reference, sweep.metrics)["tests"]
    assert [(t["a"], t["b"], t["metric"]) for t in tests] == [
        ("256", "all", "auc"),
        ("256", "all", "within_user_auc"),
    ]
    assert all(t["difference"] == pytest.approx(0.1) for t in tests)


def test_probabilities_of_a_like_do_not_read_the_labels(finished):
    config = load_run(finished)
    parts = load_click_run(config)
    shown = parts.test.take(slice(0, 6))
    hidden = dataclasses.replace(shown, label=~shown.label)
    both = [like_probabilities(config, finished, part, parts.titles) for part in (shown, hidden)]
    np.testing.assert_array_equal(*both)
    assert both[0].shape == (6,) and (both[0] > 0).all() and (both[0] < 1).all()


@pytest.mark.slow
def test_the_answers_follow_the_rule_after_tuning_and_not_before(config_file):
    directory = config_file.parent / "long"
    steps = ["--train.steps", "300", "--train.warmup-steps", "10", "--train.eval-every", "150"]
    assert main(["train", str(config_file), "--run-dir", str(directory), *steps]) == 0
    assert main(["eval", str(directory)]) == 0
    rows = json.loads((directory / "eval.json").read_text())["rows"]
    assert rows["model"]["metrics"]["within_user_auc"] > 0.95
    assert rows["item mean"]["metrics"]["auc"] == 1.0
    assert rows["untuned"]["metrics"]["auc"] < 0.8
    assert {"liked titles", "gru4rec", "answers in the other order"} <= set(rows)


def test_all_stages_leave_their_checkpoints_and_a_finished_run_stays_as_it_is(
    finished, config_file, capsys
):
    assert (finished / "instruct" / "checkpoints").is_dir()
    assert (finished / "titles" / "checkpoints").is_dir()
    before = json.loads((finished / "train.json").read_text())
    assert main(["train", str(config_file), "--run-dir", str(finished)]) == 0
    after = json.loads((finished / "train.json").read_text())
    assert after["valid"] == before["valid"]
    assert main(["train", str(config_file), "--run-dir", str(finished), "--shots", "5"]) == 2
    assert "shots was 0 and is 5" in capsys.readouterr().err


def test_stages_ask_what_their_names_say(config_file):
    config = runpy.run_path(str(config_file))["get_config"]()
    parts = load_click_run(config)
    first, titles, last = stages_of(config, parts)
    assert [first.name, titles.name, last.name] == ["instruct", "titles", "train"]
    assert len(first.records) == 3
    assert len(last.records) == 2 * len(titles.records) == 2 * len(parts.train)
    none = "User Preference: \nUser Unpreference: \n"
    assert all(none in record.input for record in [*titles.records, *titles.held])
    whole = click_prompts(parts.train, parts.titles)
    assert last.records[: len(whole)] == whole
    assert [r.output for r in titles.records] == [r.output for r in whole]
    assert first.held == last.held == click_prompts(parts.valid, parts.titles)
    assert (titles.config.steps, last.config.steps) == (config.title_steps, config.train.steps)


def test_a_stage_begins_with_what_the_one_before_it_learned(config_file, tmp_path):
    still = ["--title-steps", "0", "--train.lr", "1e-12", "--instruct.lr", "0.05"]
    assert main(["train", str(config_file), "--run-dir", str(tmp_path / "run"), *still]) == 0
    config = load_run(tmp_path / "run")
    text = TextModel.load(config.tune, config.model, tmp_path / "run", config.train.seed)
    before, after = (
        text.trained(tmp_path / "run" / place, config.train, {}) for place in ("instruct", ".")
    )
    chex.assert_trees_all_close(before, after, rtol=0, atol=1e-9)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), text.start(), after)
    assert max(jax.tree.leaves(moved)) > 0.01


def test_windows_without_an_auc_within_users_are_refused_before_any_work(config_file, capsys):
    words = ["--run-dir", str(config_file.parent / "none"), "--threshold", "5"]
    assert main(["train", str(config_file), *words]) == 3
    error = capsys.readouterr().err
    assert "none of 4 users in 24 valid windows" in error
    assert "set threshold 5" in error
    assert not (config_file.parent / "none").exists()


def test_contradictions_are_found_before_any_work():
    with pytest.raises(ConfigError, match=r"no click baseline 'sasrek'.*sasrec"):
        TallrecConfig(eval=dataclasses.replace(TallrecConfig().eval, baselines=("sasrek",)))
    with pytest.raises(ConfigError, match=r"tune.method lora .* give one as tune.base"):
        tune = dataclasses.replace(TallrecConfig().tune, method="lora")
        TallrecConfig(tune=tune)
    for name, value in {"valid_windows": -1, "batch_size": 0, "resamples": 0}.items():
        option = name.replace("_", "-")
        with pytest.raises(ConfigError, match=rf"--eval.{option} must be at least .*, got {value}"):
            dataclasses.replace(TallrecConfig().eval, **{name: value})
    for name, value in {"valid_users": -1, "resamples": 0, "samples": -1}.items():
        option = name.replace("_", "-")
        with pytest.raises(ConfigError, match=rf"--eval.{option} must be at least .*, got {value}"):
            EvalConfig(**{name: value})


def windows(target, label, liked):
    count = len(target)
    history = np.zeros((count, 2), np.int32)
    return ClickWindows(
        user=np.zeros(count, np.int32),
        history=history,
        liked=np.array(liked),
        target=np.array(target),
        label=np.array(label),
    )


def test_controls_are_those_computed_by_hand():
    train = windows([0, 0, 1], [True, False, True], [[1, 1]] * 3)
    test = windows([0, 1, 2], [True] * 3, [[True, True], [True, False], [False, False]])
    found = click_table.controls(train, test)
    assert found["liked titles"].tolist() == [2, 1, 0]
    np.testing.assert_allclose(found["item mean"], [1 / 2, 1, 2 / 3])
    np.testing.assert_allclose(found["item mean + liked titles"], [0.6, 1.05, 2 / 3])


def test_the_control_has_its_published_figures_on_the_movie_split(real_data, monkeypatch):
    monkeypatch.setenv("JAXREC_DATA", str(real_data("ml-100k").parent))
    parts = load_click_run(TallrecConfig())
    liked = {name: getattr(parts, name).liked.sum(1) for name in ("valid", "test")}
    assert round(pooled_auc(parts.valid.label, liked["valid"]), 4) == 0.6890
    assert round(pooled_auc(parts.test.label, liked["test"]), 4) == 0.7260
    assert round(within_user_auc(parts.test.label, liked["test"], parts.test.user), 4) == 0.6008
