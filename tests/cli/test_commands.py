"""Commands: what they write, and the errors that a user meets."""

import collections
import dataclasses
import json
import math
import shlex
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from jaxrec.cli.arguments import take_config
from jaxrec.cli.main import main
from jaxrec.data import DataConfig, load_dataset, load_interactions
from jaxrec.ids import ItemCodes
from jaxrec.runs.measured import Measured
from jaxrec.testing import tiny_config


@pytest.fixture(scope="module")
def config_file(tiny_run, tmp_path_factory):
    return tiny_run(tmp_path_factory.mktemp("tiny")) / "tiny.py"


@pytest.fixture(scope="module")
def finished(config_file):
    """A run directory after train, eval and report."""
    directory = config_file.parent / "run"
    assert main(["eval", str(directory)]) == 0
    assert main(["report", str(directory)]) == 0
    return directory


@pytest.fixture(scope="module")
def dataset(config_file):
    return load_dataset(tiny_config(config_file.parent / "interactions.csv").data)


def fails(arguments, capsys, code, *words):
    """The command exits with `code`, and says all the words in one line."""
    assert main(arguments) == code
    message = capsys.readouterr().err.strip()
    last = message.splitlines()[-1]
    assert last.startswith(f"jaxrec {arguments[0]}:")
    for word in words:
        assert word in last, last
    return last


def test_a_run_directory_holds_what_the_documentation_says(finished):
    names = {path.name for path in finished.iterdir()}
    expected = "config.json env.json ids data checkpoints metrics.jsonl tb result.json report.html"
    assert set(expected.split()) <= names


def test_the_result_names_every_system_and_no_invalid_item(finished):
    result = json.loads((finished / "result.json").read_text())
    assert set(result) == {"model", "baselines", "invalid_items", "seconds"}
    names = {"popularity", "item_knn", "markov", "cooccurrence", "sasrec"}
    assert set(result["baselines"]) == names
    assert result["invalid_items"] == 0


def test_the_figures_of_the_model_are_those_of_its_lists(finished, dataset):
    result = json.loads((finished / "result.json").read_text())["model"]
    lists = Measured.load(finished / "test.npz")[0].items.tolist()
    places = [
        items.index(target) if target in items else np.inf
        for items, target in zip(lists, dataset.split.target("test").tolist(), strict=True)
    ]
    assert len(places) == 40 and {"hr@5", "hr@10", "ndcg@5", "ndcg@10"} <= set(result)
    for k in (5, 10):
        gains = [1 / math.log2(place + 2) if place < k else 0.0 for place in places]
        assert result[f"hr@{k}"] == pytest.approx(np.mean([gain > 0 for gain in gains]))
        assert result[f"ndcg@{k}"] == pytest.approx(np.mean(gains))
    histories = dataset.split.history("test")
    assert not any(set(own) & set(items) for own, items in zip(histories, lists, strict=True))


def test_the_figures_of_popularity_are_those_counted_by_hand(finished, dataset):
    result = json.loads((finished / "result.json").read_text())["baselines"]["popularity"]
    counts = collections.Counter(np.concatenate(dataset.split.train.sequences()).tolist())
    hits, gains = [], []
    targets = dataset.split.target("test").tolist()
    for history, target in zip(dataset.split.history("test"), targets, strict=True):
        rivals = [counts[item] for item in set(range(30)) - set(history.tolist()) - {target}]
        ties = sum(count == counts[target] for count in rivals)
        place = sum(count > counts[target] for count in rivals) + ties / 2
        hits.append(place < 10)
        gains.append(1 / math.log2(place + 2) if place < 10 else 0.0)
    assert result["hr@10"] == pytest.approx(np.mean(hits))
    assert result["ndcg@10"] == pytest.approx(np.mean(gains))


def test_training_learns_more_than_how_often_each_code_occurs(finished, dataset):
    # A model that reads no history cannot have less than the entropy of each level's codes, and one
    # that reads the last item alone not less than the entropy of what follows it.
    rows = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    codes = ItemCodes.load(finished / "ids").codes
    histories = dataset.split.train.sequences()
    items = np.concatenate(histories)
    blind = sum(stats.entropy(np.unique(level, return_counts=True)[1]) for level in codes[items].T)
    pairs = np.concatenate([np.stack([own[:-1], own[1:]], axis=1) for own in histories])
    after = np.zeros((30, 30))
    np.add.at(after, tuple(pairs.T), 1)
    known = after[after.sum(axis=1) > 0]
    informed = np.average(stats.entropy(known, axis=1), weights=known.sum(axis=1))
    assert informed < blind / 3
    assert losses[-1] < blind - (blind - informed) / 3


def test_recommend_prints_new_items_only(finished, capsys):
    assert main(["recommend", str(finished), "--user", "u003", "--top", "5"]) == 0
    text = capsys.readouterr().out
    history, found = text.split("top 5")
    titles = [line.split(". ")[1].split("  ")[0] for line in found.splitlines() if ". Film" in line]
    assert len(set(titles)) == 5
    assert not [title for title in titles if title in history]
    assert "next: jaxrec" in text


def test_ids_are_fitted_once_and_shown(config_file, tmp_path, capsys):
    directory = tmp_path / "run"
    assert main(["ids", str(config_file), "--run-dir", str(directory)]) == 0
    assert "next: jaxrec train" in capsys.readouterr().out
    codes = ItemCodes.load(directory / "ids")
    assert len(np.unique(codes.codes, axis=0)) == 30


def test_a_run_with_other_settings_is_refused(config_file, finished, capsys):
    arguments = ["train", str(config_file), "--run-dir", str(finished), "--train.lr", "0.5"]
    fails(arguments, capsys, 2, "train.lr was 0.01 and is 0.5", "--run-dir")


def test_a_run_on_other_data_is_refused(config_file, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["ids", str(config_file), "--run-dir", str(run)]) == 0
    data = config_file.parent / "interactions.csv"
    old = data.read_text()
    try:
        data.write_text(old.rstrip("\n").rsplit("\n", 1)[0] + "\n")
        arguments = ["train", str(config_file), "--run-dir", str(run)]
        fails(arguments, capsys, 3, "other data", "fingerprint")
    finally:
        data.write_text(old)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--train.lrr", "1"], 2, ["--train.lrr", "did you mean '--train.lr'"]),
        (["--train.learning-rate", "1"], 2, ["did you mean '--train.lr'"]),
        (["--train.steps", "many"], 2, ["--train.steps", "'many'"]),
        (["--train.steps", "0"], 2, ["--train.steps must be at least 1, got 0"]),
        (["--decode.batch-size", "0"], 2, ["--decode.batch-size must be at least 1, got 0"]),
        (
            ["--sasrec.train.lr=inf"],
            2,
            ["--sasrec.train.lr must be finite and in (0, 1000], got inf"],
        ),
        (["--eval.ks", "10", "-5"], 2, ["--eval.ks must be at least 1, got -5"]),
        (["--train.seed", str(2**64)], 2, ["--train.seed must be in [0, 4294967295], got 1844"]),
        (["--decode.beams", "5"], 2, ["eval.ks", "decode.beams"]),
        (["--mesh.model", "3"], 2, ["mesh.model 3", "devices"]),
        (["--ids.size", "2"], 2, ["30 items do not fit into 2 x 2 = 4 IDs"]),
        (["--data.min-count", "500"], 3, ["nothing left after 500-core", "lower"]),
        (["--from-file", "absent.csv"], 3, ["absent.csv"]),
        (["--data.user-column", "usr"], 3, ["'usr'", "user_id"]),
    ],
)
def test_a_bad_setting_is_named_before_anything_is_written(
    config_file, tmp_path, capsys, options, code, words
):
    run = tmp_path / "run"
    arguments = ["train", str(config_file), "--run-dir", str(run), *options]
    fails(arguments, capsys, code, *words)
    assert not run.exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "from jaxrec.systems.generative import *\ndef get_config(): return Config(max_item=3)",
            "max_items",
        ),
        (
            "from jaxrec.train import TrainConfig\ndef get_config(): TrainConfig(learning_rate=1)",
            "'lr'",
        ),
        (
            "from jaxrec.systems.generative import *\nget_config = lambda: Config(max_items='3')",
            "int",
        ),
        ("x = 1", "get_config"),
        ("def get_config(): return 3", "Config"),
        ("def get_config(:", "bad.py:1: SyntaxError"),
        (f"raise ValueError('{'9' * 5000}')", f"bad.py:1: ValueError: {'9' * 500}"),
        ("import sys\nsys.exit(0)", "bad.py:2: the file exits with 0"),
        ("def get_config():\n    raise SystemExit", "bad.py:2: the file exits with None"),
        ("def get_config():\n    x = 1\n    return 1 / 0\n", "bad.py:3: ZeroDivisionError"),
        (
            "from jaxrec.systems.generative import Config\ndef get_config(): return Config",
            "bad.py: the config is the class Config; write Config()",
        ),
        (
            "from jaxrec.systems.generative import *\nfrom jaxrec.train import *\n"
            "get_config = lambda: Config(train=TrainConfig)",
            "bad.py:3: --train is the class TrainConfig; write TrainConfig()",
        ),
        (
            "from jaxrec.train import TrainConfig\n\ndef get_config():\n"
            "    return TrainConfig(steps=0)",
            "bad.py:4: --train.steps must be at least 1, got 0",
        ),
    ],
)
def test_a_bad_config_file_is_named_with_the_fix(tmp_path, monkeypatch, capsys, text, words):
    path = tmp_path / "bad.py"
    path.write_text(text)
    monkeypatch.chdir(tmp_path)
    fails(["train", str(path)], capsys, 2, words)
    assert len(fails(["train", "bad.py"], capsys, 2, words)) < 1000


def test_a_missing_config_file_names_the_nearest(config_file, capsys):
    wrong = config_file.with_name("tinny.py")
    fails(["train", str(wrong)], capsys, 2, "tinny.py", "did you mean", "tiny.py")


def test_an_unknown_user_and_too_long_a_list_are_named(finished, capsys):
    fails(["recommend", str(finished), "--user", "u9"], capsys, 2, "'u9'", "u000")
    arguments = ["recommend", str(finished), "--user", "u003", "--top", "31"]
    fails(arguments, capsys, 2, "top must lie between 1 and the catalogue's 30 items, got 31")


def test_users_are_listed_where_none_is_given(finished, capsys):
    assert main(["recommend", str(finished)]) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("tiny: 40 users, such as u000, u002, ") and first.endswith(", u039")
    assert last == f"next: jaxrec recommend {finished} --user u000"


@pytest.mark.parametrize("command", ["eval", "report"])
def test_a_directory_that_is_no_run_is_named(tmp_path, capsys, command):
    fails([command, str(tmp_path / "nothing")], capsys, 3, "no run directory", "jaxrec train")


def test_a_run_that_was_not_trained_says_so(config_file, tmp_path, capsys):
    run = tmp_path / "run"
    main(["ids", str(config_file), "--run-dir", str(run)])
    fails(["eval", str(run)], capsys, 3, "jaxrec train")


def test_damaged_checkpoints_are_set_aside_and_exit_with_3_where_all_are(
    config_file, tmp_path, capsys
):
    run = tmp_path / "run"
    arguments = ["train", str(config_file), "--run-dir", str(run)]
    assert main(arguments) == 0

    def empty(step):
        for path in (run / "checkpoints" / step).rglob("*"):
            if path.is_file():
                path.write_bytes(b"")

    empty("20")
    # Reading alone changes nothing, and says what does.
    fails(["recommend", str(run), "--user", "u001"], capsys, 3, "checkpoint", "jaxrec train")
    capsys.readouterr()
    assert main(arguments) == 0
    words = capsys.readouterr().err
    assert "checkpoints/20 is damaged" in words and "resuming from step 10" in words
    for step in ("10", "20"):
        empty(step)
    fails(arguments, capsys, 3, "every checkpoint in", "is damaged", "start over")


FULL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from jaxrec.cli.arguments import take_config
from jaxrec.cli.main import main
main(["ids", {config!r}, "--run-dir", {run!r}])
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
code = main(["train", {config!r}, "--run-dir", {run!r}])
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert main(["train", {config!r}, "--run-dir", {run!r}]) == 0
sys.exit(code)
"""


@pytest.mark.slow
def test_a_full_disk_exits_with_4_and_the_run_goes_on_afterwards(config_file, tmp_path):
    # A limit on file size fails every larger write as a full disk does.
    script = FULL_DISK.format(config=str(config_file), run=str(tmp_path / "run"))
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.returncode == 4, found.stderr[-2000:]
    message = [line for line in found.stderr.splitlines() if line.startswith("jaxrec train:")]
    assert len(message) == 1
    assert "free space" in message[0]


def test_doctor_flags_the_known_bad_pair():
    from jaxrec.cli.doctor import bad_pairs

    good = {"jax": "0.10.2", "jaxlib": "0.10.2", "flax": "0.12.8"}
    assert bad_pairs(good) == []
    assert bad_pairs(good | {"jax": "0.11.1", "jaxlib": "0.11.1"}) != []
    assert bad_pairs({"jax": "0.12.0.1", "jaxlib": "0.12.0.1", "flax": "0.12.12"}) == []
    assert "jaxlib 0.9.0" in bad_pairs(good | {"jaxlib": "0.9.0"})[0]


def test_data_is_described_and_added(config_file, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("JAXREC_CACHE", str(tmp_path))
    from jaxrec.testing import tiny_options

    options = tiny_options(config_file.parent / "interactions.csv")[2:]
    options = [word.replace("--data.", "--") for word in options]
    assert main(["data", "add", "tiny", *options]) == 0
    text = capsys.readouterr().out
    assert "users: 40" in text and "items: 30" in text and "prepared: " in text
    # The command that is named next reads the same data.
    words = shlex.split(text.splitlines()[-1].removeprefix("next: jaxrec "))
    data = load_interactions(take_config(words[1:], "train")[0].data)
    theirs = load_interactions(tiny_config(config_file.parent / "interactions.csv").data)
    assert (data.name, data.fingerprint()) == ("tiny", theirs.fingerprint())
    assert main(["data", "list"]) == 0
    assert "ml-100k" in capsys.readouterr().out
    fails(["data", "describe", "ml-100kk"], capsys, 3, "did you mean 'ml-100k'")


def test_the_command_after_a_description_reads_the_same_data(config_file, tmp_path, capsys):
    # A path and a value that a shell would cut, and a default that is given all the same.
    path = tmp_path / "my ratings.csv"
    text = (config_file.parent / "interactions.csv").read_text()
    path.write_text(text.replace("user_id", "who's"))
    given = ["--user-column", "who's", "--item_column=movie_id", "--time-column", "when"]
    assert main(["data", "describe", str(path), *given, "--min-count", "0"]) == 0
    out = capsys.readouterr().out
    words = shlex.split(out.splitlines()[-1].removeprefix("next: jaxrec "))
    assert words[:2] == ["train", "quickstart"]
    config, _, directory = take_config(words[1:], "train")
    assert str(directory) == "runs/my ratings"
    expected = DataConfig(
        name=str(path), user_column="who's", item_column="movie_id", time_column="when", min_count=0
    )
    assert config.data == expected
    assert f"fingerprint: {load_interactions(config.data).fingerprint()}" in out


def test_the_help_of_a_description_names_the_data_set_once(capsys):
    with pytest.raises(SystemExit):
        main(["data", "describe", "--help"])
    text = capsys.readouterr().out
    assert "NAME" in text and "--name" not in text and "--user-column" in text
    assert main(["data", "describe", "ml-100k", "--name", "ml-1m"]) == 2
    error = capsys.readouterr().err
    assert "unknown option '--name'" in error and "mean '--name'" not in error


def test_the_config_of_a_run_is_read_back_exactly(finished, config_file):
    from jaxrec.systems.generative.config import load_config

    config = tiny_config(config_file.parent / "interactions.csv")
    assert load_config(finished) == config
    assert dataclasses.asdict(config)["train"]["lr"] == 0.01
