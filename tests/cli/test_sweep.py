"""`jaxrec sweep`: it resumes, ends with its table as JSON, and takes systems that do not rank."""

import json
import sys
from pathlib import Path

import pytest

from jaxrec.cli.main import main
from jaxrec.runs import WARNING
from jaxrec.testing import write_tiny_csv

SWEEP = """
import dataclasses
from jaxrec.testing import tiny_config

def get_sweep():
    config = tiny_config({path!r})
    train = dataclasses.replace(config.train, steps=2, eval_every=2)
    config = dataclasses.replace(config, train=train)
    slower = dataclasses.replace(train, lr=config.train.lr / 2)
    return {{"two codes": config, "slower": dataclasses.replace(config, train=slower)}}
"""
# A system that ranks nothing: it gives one metric, and its values per user if asked to.
SYSTEM = """
import dataclasses
import json
from typing import ClassVar
from jaxrec.runs import create_run
from jaxrec.train import TrainConfig

@dataclasses.dataclass(frozen=True)
class GuessEval:
    baselines: tuple[str, ...] = ("coin",)

@dataclasses.dataclass(frozen=True)
class GuessConfig:
    system: ClassVar[str] = "guess_package.guess"
    gain: float = 0.0
    per_user: bool = True
    users: int = 4
    data: str = "coins"
    base: str = ""
    train: TrainConfig = TrainConfig()
    eval: GuessEval = GuessEval()

CONFIG = GuessConfig

class Coins:
    def describe(self):
        return {"fingerprint": "coins"}

def train(config, directory, options):
    assert not (directory / "train.json").exists(), "trained twice"
    create_run(config, Coins(), None, directory)
    (directory / "train.json").write_text("{}")

def evaluate(config, directory, *, baselines):
    assert not (directory / "seen").exists(), "measured twice"
    (directory / "seen").write_text("")
    values = [user % 2 + config.gain + config.train.seed for user in range(config.users)]
    mean = sum(values) / len(values)
    rows = {"model": {"metrics": {"auc": mean}, "intervals": {"auc": [mean - 1, mean + 1]}}}
    for name in baselines:
        rows[name] = {"metrics": {"auc": 0.5}, "intervals": {"auc": [0.4, 0.6]}}
    shown = {"heading": "coins", "comparisons": [], "lines": []}
    report = shown | {"rows": rows, "protocol": {"fingerprint": "coins", "users": config.users}}
    return report | ({"values": {"auc": values}} if config.per_user else {})
"""
GUESS = """
import dataclasses
from guess_package.guess.run import GuessConfig
from jaxrec.runs import Sweep

def get_sweep():
    variants = {"plain": GuessConfig(), "better": GuessConfig(gain=1.0)}
    return Sweep(variants=variants, metrics=("auc",), all_rows=True)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sweep")
    (directory / "tiny.py").write_text(SWEEP.format(path=str(write_tiny_csv(directory))))
    return directory


@pytest.fixture
def guess(tmp_path, monkeypatch):
    package = tmp_path / "guess_package" / "guess"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").write_text("")
    (package / "run.py").write_text(SYSTEM)
    monkeypatch.syspath_prepend(tmp_path)
    # Another test may have changed the package.
    for name in [name for name in sys.modules if name.startswith("guess_package")]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "guess.py").write_text(GUESS)
    return tmp_path / "guess.py"


def sweep(capsys, *words):
    assert main(["sweep", *map(str, words)]) == 0
    lines = capsys.readouterr().out.splitlines()
    return json.loads(lines[-1]), lines


def test_a_sweep_ends_with_its_table_and_started_again_trains_nothing(place, capsys):
    words = [place / "tiny.py", "--seeds", "2", "--run-dir", place / "out"]
    words += ["--decode.batch-size", "8"]
    first, lines = sweep(capsys, *words)
    assert [row["name"] for row in first["rows"]] == ["two codes", "slower"]
    for row in first["rows"]:
        low, high = row["intervals"]["ndcg@10"]
        assert low <= row["metrics"]["ndcg@10"] <= high
        assert len(row["by_seed"]["ndcg@10"]) == 2
    (test,) = first["tests"]
    assert (test["a"], test["b"], test["metric"]) == ("slower", "two codes", "ndcg@10")
    metrics = [row["metrics"]["ndcg@10"] for row in first["rows"]]
    assert test["difference"] == pytest.approx(metrics[1] - metrics[0])
    assert any("slower, seed 1:" in line for line in lines)
    settings = json.loads((place / "out" / "two-codes-1" / "config.json").read_text())
    assert (settings["train"]["seed"], settings["decode"]["batch_size"]) == (1, 8)

    # The lock is released by removing nothing, so all files and their times are compared.
    def times():
        files = (p for p in (place / "out").rglob("*") if p.name not in ("sweep.json", "run.lock"))
        return {file: file.stat().st_mtime_ns for file in files if file.is_file()}

    before = times()
    again, lines = sweep(capsys, *words)
    assert again == first
    assert times() == before
    assert not any("best step" in line for line in lines)
    part, _ = sweep(capsys, *words, "--only", "slower")
    assert [row["name"] for row in part["rows"]] == ["slower"]
    assert part["rows"][0] == first["rows"][1]
    assert main(["sweep", *map(str, words), "--train.lr", "0.5"]) == 2
    assert "train.lr was 0.01 and is 0.5" in capsys.readouterr().err


def test_a_system_that_does_not_rank_has_the_rows_of_its_evaluation(guess, tmp_path, capsys):
    words = [guess, "--seeds", "2", "--run-dir", tmp_path / "out"]
    report, _ = sweep(capsys, *words)
    assert {row["name"]: row["metrics"]["auc"] for row in report["rows"]} == {
        "plain": 1.0,
        "better": 2.0,
        "coin": 0.5,
    }
    (test,) = report["tests"]
    assert (test["a"], test["b"], test["difference"]) == ("better", "plain", 1.0)
    # The system fails if it measures a directory twice.
    assert sweep(capsys, *words)[0] == report
    # Rows that were measured beside other baselines since do not stand in the table.
    place = tmp_path / "out" / "plain-0"
    (place / "seen").unlink()
    assert main(["eval", str(place), "--baselines", "dice"]) == 0
    assert "dice" in json.loads((place / "eval.json").read_text())["rows"]
    (place / "seen").unlink()
    assert sweep(capsys, *words)[0] == report


def test_the_table_of_many_metrics_is_printed_whole(guess, tmp_path, capsys, monkeypatch):
    source = tmp_path / "guess_package" / "guess" / "run.py"
    many = '{"auc": mean} | {f"further_{n:02}": n + 0.123 for n in range(30)}'
    source.write_text(source.read_text().replace('{"auc": mean}', many, 1))
    report, lines = sweep(capsys, guess, "--run-dir", tmp_path / "out")
    assert report["rows"][0]["metrics"]["further_29"] == 29.123
    table = lines[: next(n for n, line in enumerate(lines) if line.startswith("saved in"))]
    shown = [line.split() for line in table if "further_" in line]
    # Metrics are rows, in one table; two variants have them, and the baseline does not.
    expected = [[f"further_{n:02}", *[f"{n + 0.123:.3f}".removeprefix("0")] * 2] for n in range(30)]
    assert [words for words in shown if len(words) == 3] == expected
    assert not any("…" in line for line in table)


def test_a_run_that_variants_start_from_is_trained_once_a_seed_and_must_stay_as_it_is(
    guess, tmp_path, capsys
):
    start = tmp_path / "start"
    started = f"{{n: dataclasses.replace(c, base={str(start)!r}) for n, c in variants.items()}}"
    starts = f"variants={started}, starts={{{str(start)!r}: GuessConfig(gain=9.0)}}"
    guess.write_text(guess.read_text().replace("variants=variants", starts))
    words = [guess, "--seeds", "2", "--run-dir", tmp_path / "out"]
    report, lines = sweep(capsys, *words)
    # It is no row, and options of the sweep do not change it.
    assert [row["name"] for row in report["rows"]] == ["plain", "better", "coin"]
    assert lines[0] == f"train {start}, which the variants start from"
    assert json.loads((start / "config.json").read_text())["gain"] == 9.0
    # Another seed has a start of its own, from which its variants start.
    assert f"train {start}-1, which the variants start from" in lines
    for seed, place in ((0, start), (1, tmp_path / "start-1")):
        assert json.loads((place / "config.json").read_text())["train"]["seed"] == seed
        config = json.loads((tmp_path / "out" / f"plain-{seed}" / "config.json").read_text())
        assert config["base"] == str(place)
    assert sweep(capsys, *words)[1][0] == f"starts from {start}, which is trained already"
    guess.write_text(guess.read_text().replace("gain=9.0", "gain=8.0"))
    assert main(["sweep", *map(str, words)]) == 2
    error = capsys.readouterr().err
    assert f"the sweep starts from {start}: " in error and "gain was 9.0 and is 8.0" in error


def test_a_start_may_begin_with_another_start_of_the_same_seed(guess, tmp_path, capsys):
    first, second = tmp_path / "first", tmp_path / "second"
    starts = f"""variants=variants, starts={{
        {str(first)!r}: GuessConfig(gain=9.0),
        {str(second)!r}: GuessConfig(base={str(first)!r}),
    }}"""
    guess.write_text(guess.read_text().replace("variants=variants", starts))
    sweep(capsys, guess, "--seeds", "2", "--run-dir", tmp_path / "out")
    for second_place, first_place in ((second, first), (f"{second}-1", f"{first}-1")):
        config = json.loads((Path(second_place) / "config.json").read_text())
        assert config["base"] == str(first_place)


def test_a_fixed_start_serves_the_variants_of_all_seeds(guess, tmp_path, capsys):
    start = tmp_path / "start"
    started = f"{{n: dataclasses.replace(c, base={str(start)!r}) for n, c in variants.items()}}"
    starts = f"variants={started}, starts={{{str(start)!r}: GuessConfig()}}, fixed_starts=True"
    guess.write_text(guess.read_text().replace("variants=variants", starts))
    _, lines = sweep(capsys, guess, "--seeds", "2", "--run-dir", tmp_path / "out")
    assert len([line for line in lines if line.endswith("the variants start from")]) == 1
    for seed in (0, 1):
        config = json.loads((tmp_path / "out" / f"plain-{seed}" / "config.json").read_text())
        assert (config["base"], config["train"]["seed"]) == (str(start), seed)


def test_without_values_per_user_there_is_no_test(guess, tmp_path, capsys):
    report, _ = sweep(capsys, guess, "--run-dir", tmp_path / "out", "--no-per-user")
    assert report["tests"] == []
    assert report["rows"][0]["intervals"] == {"auc": [-0.5, 1.5]}


def test_variants_that_measured_other_users_are_refused(guess, tmp_path, capsys):
    text = guess.read_text().replace("gain=1.0", "gain=1.0, users=5")
    guess.write_text(text)
    assert main(["sweep", str(guess), "--run-dir", str(tmp_path / "out")]) == 3
    assert "variant 'better' was measured on other data" in capsys.readouterr().err


def test_a_quick_sweep_says_that_its_figures_mean_nothing(guess, tmp_path, capsys):
    out = tmp_path / "out"
    report, lines = sweep(capsys, guess, "--quick", "--run-dir", out)
    assert lines[0] == WARNING
    # The last line is JSON, which says it too.
    assert lines.count(WARNING) == 1
    assert report["warning"] == WARNING
    assert json.loads((out / "sweep.json").read_text())["warning"] == WARNING
    config = json.loads((out / "plain-0" / "config.json").read_text())
    assert config["train"]["steps"] == 100
    assert json.loads((out / "plain-0" / "eval.json").read_text())["warning"] == WARNING
    assert main(["sweep", str(guess), "--run-dir", str(out)]) == 2
    assert "holds a quick run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def get_config(): pass", "defines no get_sweep()"),
        ("def get_sweep(): return {'one': 3}", "variant 'one': int is not the config of a system"),
        ("def get_sweep(): return 1 / 0", "division by zero"),
        ("def get_sweep(): return {}", "has no variants"),
    ],
)
def test_a_bad_sweep_file_is_refused_before_anything_is_written(tmp_path, capsys, text, words):
    path = tmp_path / "bad.py"
    path.write_text(text)
    assert main(["sweep", str(path), "--run-dir", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert words in error and str(path) in error
    assert not (tmp_path / "out").exists()


def test_bad_options_are_refused_before_anything_is_written(guess, tmp_path, capsys):
    def refused(*words):
        assert main(["sweep", str(guess), "--run-dir", str(tmp_path / "out"), *words]) == 2
        assert not (tmp_path / "out").exists()
        return capsys.readouterr().err

    assert "--seeds must be at least 1" in refused("--seeds", "0")
    assert "no variant 'bettter', did you mean 'better'" in refused("--only", "bettter")
    assert "unknown option '--gian', did you mean '--gain'" in refused("--gian", "1")
