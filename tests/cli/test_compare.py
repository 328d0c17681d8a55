"""`jaxrec compare`: its figures are those of `jaxrec eval`, and nothing is trained twice."""

import json

import numpy as np
import pytest

from jaxrec.cli import compare as compare_command
from jaxrec.cli.configs import config_names
from jaxrec.cli.loading import load_config_file
from jaxrec.cli.main import main
from jaxrec.core import ConfigError
from jaxrec.eval.comparison_table import BEGIN, END
from jaxrec.runs import WARNING, check_alike
from jaxrec.runs.compare import with_seed
from jaxrec.runs.measured import Measured
from jaxrec.systems.vqrec.config import VqRecConfig
from jaxrec.testing import tiny_config, write_tiny_csv

CONFIG = """
import dataclasses
from jaxrec.testing import tiny_config

def get_config():
    config = tiny_config({path!r})
    train = dataclasses.replace(config.train, steps={steps})
    decode = dataclasses.replace(config.decode, filter_seen={filter_seen})
    measured = dataclasses.replace(config.eval, baselines=("popularity", "markov"))
    return dataclasses.replace(config, train=train, decode=decode, eval=measured)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    directory = tmp_path_factory.mktemp("compare")
    path = str(write_tiny_csv(directory))
    steps = tiny_config(path).train.steps
    for name, count, filter_seen in (
        ("short", 2, True),
        ("long", steps, True),
        ("other", 2, False),
    ):
        text = CONFIG.format(path=path, steps=count, filter_seen=filter_seen)
        (directory / f"{name}.py").write_text(text)
    return directory


@pytest.fixture(scope="module")
def compared(place):
    document = place / "doc.md"
    document.write_text(f"Before.\n\n{BEGIN}\nold\n{END}\n\nAfter.\n")
    words = [str(place / "long.py"), str(place / "short.py"), "--run-dir", str(place / "runs")]
    words += ["--baselines", "popularity", "markov", "--against", "popularity"]
    assert main(["compare", *words, "--write", str(document)]) == 0
    return words


def test_figures_are_those_of_the_run_itself(place, compared):
    found = json.loads((place / "runs" / "comparison.json").read_text())
    assert list(found["rows"]) == ["popularity", "markov", "long", "short"]
    run = place / "runs" / "long-0"
    assert main(["eval", str(run)]) == 0
    result = json.loads((run / "result.json").read_text())
    for name, theirs in (("long", result["model"]), ("markov", result["baselines"]["markov"])):
        ours = found["rows"][name]["metrics"]
        for metric, value in theirs.items():
            np.testing.assert_allclose(ours[metric], value)
    measured, facts = Measured.load(run / "test.npz")
    assert facts["seen_items"] == "removed"
    hits = [target in row for target, row in zip(_targets(place), measured.items, strict=True)]
    np.testing.assert_array_equal(hits, measured.metrics["hr@10"] > 0)


def _targets(place):
    from jaxrec.data.dataset import load_dataset

    path = str(place / "interactions.csv")
    return load_dataset(tiny_config(path).data).split.target("test")


def test_tests_are_paired_and_slices_and_qualities_are_there(place, compared):
    found = json.loads((place / "runs" / "comparison.json").read_text())
    assert [test["system"] for test in found["comparisons"]] == ["markov", "long", "short"]
    for test in found["comparisons"]:
        rows = found["rows"]
        gap = rows[test["system"]]["metrics"]["ndcg@10"] - rows["popularity"]["metrics"]["ndcg@10"]
        np.testing.assert_allclose(test["difference"], gap, atol=1e-12)
        assert test["p"] <= test["p_holm"]
    # The tiny items have genres, and its users walk among neighbours of one genre.
    assert {"coverage", "gini", "novelty", "diversity"} <= set(found["rows"]["long"]["quality"])
    assert found["rows"]["popularity"]["quality"]["coverage"] < 1
    assert any(name.startswith("history ") for name in found["rows"]["long"]["slices"])


def test_the_tables_stand_between_the_marks_of_the_document(place, compared):
    text = (place / "doc.md").read_text()
    assert text.startswith(f"Before.\n\n{BEGIN}\n\ntiny") or "| long |" in text
    assert text.endswith(f"{END}\n\nAfter.\n")
    assert "old" not in text
    assert sum(line.startswith("| popularity |") for line in text.splitlines()) == 3


def test_each_row_is_also_measured_with_seen_items_kept(place, compared, tmp_path, capsys):
    found = json.loads((place / "runs" / "comparison.json").read_text())["rows"]
    words = [str(place / "other.py"), "--run-dir", str(tmp_path / "runs")]
    assert main(["compare", *words, "--baselines", "popularity", "markov"]) == 0
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    for name in ("popularity", "markov"):
        assert rows[name]["metrics"] == found[name]["other"] != found[name]["metrics"]
        assert rows[name]["other"] == found[name]["metrics"]
        assert rows[name]["other_intervals"] == found[name]["intervals"]
    # "short" and "other" are the same training, and so little of it that all checkpoints are one.
    for metric, value in rows["other"]["metrics"].items():
        np.testing.assert_allclose(found["short"]["other"][metric], value)
    assert "NDCG@10, seen kept" in (place / "doc.md").read_text()


def test_a_second_comparison_trains_nothing(place, compared, capsys):
    def metrics():
        rows = json.loads((place / "runs" / "comparison.json").read_text())["rows"]
        return {name: row["metrics"] for name, row in rows.items()}

    before = metrics()
    assert main(["compare", *compared]) == 0
    out = capsys.readouterr().out
    assert "best step" not in out
    assert f"long, training 1 of 1: {place / 'runs' / 'long-0'}" in out.splitlines()
    assert metrics() == before


def test_every_stage_of_a_training_gets_the_seed():
    config = with_seed(VqRecConfig(), 7)
    assert [config.pretrain.seed, config.assign.seed, config.train.seed] == [7, 7, 7]
    config = with_seed(tiny_config("x.csv"), 7)
    assert (config.train.seed, config.ids.seed, config.sasrec.train.seed) == (7, 7, 0)


def test_a_run_that_was_not_measured_is_ranked_and_its_figures_are_those_of_eval(
    tiny_run, tmp_path, capsys
):
    run = tiny_run(tmp_path) / "run"
    assert main(["compare", str(run), "--run-dir", str(tmp_path / "out")]) == 0
    rows = json.loads((tmp_path / "out" / "comparison.json").read_text())["rows"]
    # Any baselines that count stand beside a run, whatever its config names.
    assert main(["eval", str(run), "--baselines", "popularity", "als"]) == 0
    report = json.loads((run / "eval.json").read_text())
    assert list(report["rows"]) == ["model", "popularity", "als"] == ["model", *report["baselines"]]
    for metric, value in report["rows"]["model"]["metrics"].items():
        assert value == pytest.approx(rows["run"]["metrics"][metric])
    # A second comparison reads what is there.
    measured = (run / "test.npz").read_bytes()
    assert main(["compare", str(run), "--run-dir", str(tmp_path / "out")]) == 0
    assert (run / "test.npz").read_bytes() == measured
    capsys.readouterr()
    for words, said in (
        (["--baselines"], "--baselines needs names"),
        (["--baselines", "markov", "--no-baselines"], "--baselines needs names"),
        (
            ["--baselines", "markof"],
            "no baseline 'markof' in eval.baselines, did you mean 'markov'",
        ),
    ):
        assert main(["eval", str(run), *words]) == 2
        assert said in capsys.readouterr().err
    assert json.loads((run / "eval.json").read_text()) == report
    # Nothing is trained or ranked before every run is known to be complete.
    (run / "train.json").unlink(), (run / "test.npz").unlink()
    words = ["compare", str(tmp_path / "tiny.py"), str(run), "--run-dir", str(tmp_path / "new")]
    assert main(words) == 3
    assert "run is not trained to its end" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("tallrec/ml100k", "other is a TallrecConfig that ranks no next items"),
        ("p5/rating", "other is a P5Config that ranks no next items"),
        (
            "vqrec/transfer",
            "other knows the histories of a share 0.1 of the users and the first system of",
        ),
    ],
)
def test_a_system_without_comparable_lists_is_refused_before_any_work(
    config, words, place, tmp_path, capsys
):
    there = ["--run-dir", str(tmp_path / "new")]
    # On the data of the other, so that nothing else keeps them apart.
    own = config_names()[config].read_text()
    own += f"""
import dataclasses
import runpy
_own, get_other = get_config, runpy.run_path({str(place / "long.py")!r})["get_config"]

def get_config():
    return dataclasses.replace(_own(), data=get_other().data)
"""
    (tmp_path / "other.py").write_text(own)
    assert main(["compare", str(place / "long.py"), str(tmp_path / "other.py"), *there]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_no_baseline_stands_beside_one_that_knows_fewer_users(capsys, tmp_path):
    words = [
        "compare",
        "vqrec/transfer",
        "--baselines",
        "markov",
        "--run-dir",
        str(tmp_path / "new"),
    ]
    assert main(words) == 2
    assert "markov would be trained on all users, and the first config only on a share" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "new").exists()


def test_what_cannot_be_compared_is_refused_before_training(place, compared, capsys):
    def refused(*words, code=2):
        assert main(["compare", *words]) == code
        return capsys.readouterr().err

    long, other = str(place / "long.py"), str(place / "other.py")
    assert "nothing to compare" in refused()
    assert "other settings of decode.filter_seen" in refused(long, other)
    assert "two systems are called long" in refused(long, long)
    twice = refused(long, "--baselines", "markov", "popularity", "markov")
    assert "two rows are called markov; name each baseline once" in twice
    named = place / "als.py"
    named.write_text((place / "long.py").read_text())
    assert "two rows are called als; name each" in refused(str(named), "--baselines", "als")
    assert "--against 'nobody' is none of long" in refused(long, "--against", "nobody")
    there = ["--run-dir", str(place / "new"), "--baselines", "markof"]
    assert "no baseline 'markof'" in refused(long, *there)
    document = place / "bare.md"
    document.write_text("no marks")
    assert "must contain the line" in refused(long, "--write", str(document))


def test_a_quick_comparison_says_that_its_figures_mean_nothing(place, tmp_path, capsys):
    out, document = tmp_path / "runs", tmp_path / "doc.md"
    document.write_text(f"{BEGIN}\n{END}\n")
    words = [str(place / "short.py"), "--quick", "--run-dir", str(out)]
    assert main(["compare", *words, "--write", str(document)]) == 0
    assert capsys.readouterr().out.startswith(WARNING)
    assert json.loads((out / "comparison.json").read_text())["warning"] == WARNING
    assert WARNING in document.read_text()
    # A quick run that stands beside others makes their table as meaningless.
    assert main(["eval", str(out / "short-0")]) == 0
    assert WARNING in capsys.readouterr().out
    assert main(["compare", str(out / "short-0"), "--run-dir", str(tmp_path / "again")]) == 0
    assert WARNING in capsys.readouterr().out


def test_all_configs_read_the_data_set_of_the_option(place, monkeypatch, capsys):
    words = ["amazon/sasrec", "amazon/hstu", str(place / "other.py")]
    read = []

    def stop(config):
        read.append(config)
        raise ConfigError("enough")

    monkeypatch.setattr("jaxrec.cli.compare.load_dataset", stop)
    assert main(["compare", *words[:2], "--data.name", "amazon-toys"]) == 2
    assert (read[0].name, read[0].min_count) == ("amazon-toys", 0)
    # What describes a file is left out, and the other settings must still agree.
    data = compare_command._on("amazon-toys", load_config_file(place / "other.py")).data
    assert data.from_file == "" and data.user_column == "user"
    monkeypatch.undo()
    assert main(["compare", *words[:2], "--data.name", "amazon-toy"]) == 3
    assert "did you mean 'amazon-toys'" in capsys.readouterr().err


def test_data_that_are_not_here_have_a_place_to_go(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JAXREC_DATA", str(tmp_path))
    assert main(["compare", "amazon/sasrec", "--data.name", "amazon-toys"]) == 3
    message = capsys.readouterr().err
    assert f"put its files into {tmp_path / 'amazon-toys'}" in message
    assert "compare has only --data.name" in message and len(message) < 600


@pytest.mark.parametrize("quick", [False, True])
def test_the_configs_of_a_folder_that_belong_together_are_alike(quick):
    names = [name for name in config_names() if name.startswith("amazon/")]
    first, *others = (load_config_file(config_names()[name], quick=quick) for name in names)
    for name, config in zip(names[1:], others, strict=True):
        check_alike(first, config, name)


def test_a_run_keeps_its_data_set(place, tmp_path, monkeypatch, capsys):
    config = load_config_file(place / "short.py")
    monkeypatch.setattr(compare_command, "load_run", lambda path: config)
    monkeypatch.setattr(compare_command.compare, "check_trained", lambda path: None)
    assert main(["compare", str(tmp_path), "--data.name", "ml-100k"]) == 2
    message = capsys.readouterr().err
    assert f"--data.name ml-100k has no meaning for the run {tmp_path}" in message
    assert f"which was trained on {config.data.name}" in message


def test_a_message_about_columns_says_where_to_set_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text("who,what\na,b\n")
    assert main(["compare", "amazon/sasrec", "--data.name", "mine.csv"]) == 3
    message = capsys.readouterr().err
    assert "no column 'user'" in message and "compare has only --data.name" in message
    assert len(message.splitlines()) == 1


@pytest.mark.slow
def test_a_config_that_starts_from_a_base_is_compared_and_read_again(place, tmp_path, capsys):
    base = tmp_path / "base"
    assert main(["train", str(place / "short.py"), "--run-dir", str(base)]) == 0
    text = (place / "short.py").read_text().replace("get_config", "get_base")
    text += f"""
from jaxrec.peft import TuneConfig

def get_config():
    tune = TuneConfig(method="lora", base={str(base)!r}, rank=2, targets=("all",))
    return dataclasses.replace(get_base(), tune=tune)
"""
    (tmp_path / "tuned.py").write_text(text)
    words = ["compare", str(tmp_path / "tuned.py"), "--run-dir", str(tmp_path / "out")]
    assert main(words) == 0
    capsys.readouterr()
    assert main(words) == 0
    assert "best step" not in capsys.readouterr().out
