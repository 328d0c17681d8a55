"""`jaxrec data check`, `add` and `describe` on files of a new user."""

import csv
import json
import os
import re

import pytest

from jaxrec.cli.arguments import override
from jaxrec.cli.main import main
from jaxrec.core import DataError
from jaxrec.data import DataConfig, load_dataset, load_interactions
from jaxrec.systems.generative import Config


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Keep what is added below the test's directory."""
    monkeypatch.setenv("JAXREC_CACHE", str(tmp_path / "cache"))
    return tmp_path


def write_log(path, users=6, delimiter=",", scale=1, extra=()):
    """Six users with the same seven items; `extra` rows follow."""
    rows = [(f"u{u}", f"i{i}", 1700000000 * scale + i) for u in range(users) for i in range(7)]
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([("user", "item", "ts"), *rows, *extra])
    return path


def last_json(text):
    return json.loads(text.strip().splitlines()[-1])


def run(capsys, *words):
    """Return the exit code of a command, its output and its errors."""
    code = main([str(word) for word in words])
    return code, *capsys.readouterr()


@pytest.mark.parametrize(
    ("items", "said"), [(3, "with 3 items every list"), (10, "with 10"), (11, "--decode.beams 11")]
)
def test_check_says_what_few_items_need(items, said, cache, capsys):
    rows = "".join(f"u,i{item}\n" for item in range(items))
    (cache / "few.csv").write_text(f"user,item\n{rows}")
    code, text, _ = run(capsys, "data", "check", cache / "few.csv", "--data.min-count", 0)
    (advice,) = last_json(text)["advice"]
    assert code == 0 and said in advice


@pytest.mark.slow
def test_three_items_can_be_trained(cache, capsys):
    rows = "".join(f"u{user},i{(user * n) % 3}\n" for user in range(8) for n in range(5))
    (cache / "few.csv").write_text(f"user,item\n{rows}")
    brief = ("--train.steps", 2, "--train.eval-every", 2, "--train.warmup-steps", 1)
    words = ("--data.name", cache / "few.csv", "--data.min-count", 0, "--run-dir", cache / "run")
    code, text, _ = run(capsys, "train", "quickstart", *words, *brief, "--train.batch-size", 4)
    assert code == 0 and "decode.beams is 50, and the catalogue has 3 items" in text
    metrics = dict(re.findall(r"(\w+@10) +([\d.]+)", text.split("on validation: ")[-1]))
    # All three items are in every list, so the target is, and not below place three.
    assert float(metrics["hr@10"]) == 1 and 0.5 <= float(metrics["ndcg@10"]) <= 1


def test_one_item_leaves_nothing_to_choose(cache, capsys):
    (cache / "one.csv").write_text("user,item\n" + "u,i\n" * 5)
    code, text, error = run(capsys, "data", "check", cache / "one.csv", "--data.min-count", 0)
    assert code == 3 and "all 5 interactions are with item 'i'" in error
    assert not last_json(text)["accepted"]


def test_check_says_what_a_file_is(cache, capsys):
    extra = [
        ("u0", "i6", 1700000000006),
        ("u1", "i0", 1700000002000),
        ("short", "i1", 1700000000001),
    ]
    path = write_log(cache / "log.csv", delimiter=";", scale=1000, extra=extra)
    code, text, error = run(capsys, "data", "check", path, "--data.time-column", "ts")
    assert (code, error) == (0, "")
    found = last_json(text)
    assert found["accepted"] and found["problems"] == []
    assert (found["format"], found["delimiter"]) == ("table", ";")
    assert found["columns"] == {"user": "user", "item": "item", "ts": "time"}
    assert found["notes"] == ["times are milliseconds"] and found["times"] == "milliseconds"
    assert (found["users"], found["items"], found["interactions"]) == (7, 7, 45)
    assert (found["duplicate_rows"], found["short_users"]) == (1, 1)
    assert found["users_with_repeated_target"] == 2
    assert (found["training_users"], found["training_items"]) == (6, 7)
    for part in ("format: table", "delimiter: ;", "ts (time)", "--data.drop-repeats duplicates"):
        assert part in text
    # The same without the filter: the short user is in the way, and the fix is named.
    words = ("data", "check", path, "--data.time-column", "ts", "--data.min-count", 0)
    code, text, error = run(capsys, *words)
    assert code == 3 and "--data.short-users drop" in error and not last_json(text)["accepted"]
    assert run(capsys, *words, "--data.short-users", "drop")[0] == 0


FAULTS = {
    "no columns": ("user_id,movie\nu,1\n", "--data.user-column user_id"),
    "times": ("user,item,timestamp\nu,1,5\nu,2,4\n", "--data.time-column timestamp"),
    "few": ("user,item\nu,1\nu,2\n", "--data.min-count"),
    "empty": ("", "empty file"),
    "ids": ("user,item\nu,nan\n", "stands for a missing value"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_check_accepts_exactly_what_training_reads(cache, capsys, name):
    text, fix = FAULTS[name]
    (cache / "x.csv").write_text(text)
    code, out, error = run(capsys, "data", "check", cache / "x.csv")
    found = last_json(out)
    assert code == 3 and not found["accepted"] and fix in error and fix in found["problems"][0]
    with pytest.raises(Exception, match=fix):
        load_dataset(DataConfig(name=str(cache / "x.csv")))


def test_check_names_the_first_ten_wrong_lines(cache, capsys):
    path = write_log(cache / "log.csv", extra=[(f"v{n}", f"i{n}", "soon") for n in range(12)])
    code, text, error = run(capsys, "data", "check", path, "--data.time-column", "ts")
    rows = last_json(text)["bad_rows"]
    # A header and 42 rows stand before them.
    assert code == 3 and [row.partition(":")[0] for row in rows] == [
        f"line {44 + n}" for n in range(10)
    ]
    assert all("'soon'" in row for row in rows) and "  line 53: ts 'soon'" in text
    assert "12 bad rows" in error and "and 9 more" in error


def test_check_counts_what_training_would_drop(cache, capsys):
    extra = [("short", "i1", 5), *[("u0", f"rare{n}", 1700000100 + n) for n in range(3)]]
    path = write_log(cache / "log.csv", extra=extra)
    words = ("data", "check", path, "--data.time-column", "ts", "--data.min-count", 5)
    code, text, _ = run(capsys, *words)
    found = last_json(text)
    names = ("filtered_users", "filtered_items", "filtered_interactions")
    assert code == 0 and [found[name] for name in names] == [1, 3, 4]
    data = load_dataset(DataConfig(name=str(path), time_column="ts", min_count=5)).interactions
    assert len(data) == found["interactions"] - found["filtered_interactions"] == 42
    assert last_json(run(capsys, *words[:-1], 0, "--data.short-users", "drop")[1])[names[1]] == 0


@pytest.mark.parametrize("count", [0, 3, 5, 7, 8])
def test_check_and_describe_foresee_the_filter(cache, capsys, count):
    path = write_log(cache / "log.csv", extra=[("short", "i1", 1700000000)])
    words = ("--time-column", "ts", "--min-count", count)
    code, text, _ = run(capsys, "data", "check", path, *words)
    try:
        load_dataset(DataConfig(name=str(path), time_column="ts", min_count=count))
        expected = 0
    except ValueError:
        expected = 3
    assert code == expected and last_json(text)["accepted"] == (expected == 0)
    code, text, error = run(capsys, "data", "describe", path, *words)
    if count >= 7:  # the filter leaves nothing to describe
        assert code == 3 and "nothing left after" in error
    else:
        state = "accepted" if expected == 0 else "refused"
        assert f"--data.min-count {count}: {state}" in text
        assert "--data.min-count 5: accepted" in text


def test_an_added_data_set_is_known_by_its_name(cache, capsys):
    path = write_log(cache / "log.csv")
    code, text, _ = run(capsys, "data", "add", "toys", "--from-file", path, "--time-column", "ts")
    assert (
        code == 0
        and text.splitlines()[-1]
        == "next: jaxrec train quickstart --data.name toys --run-dir runs/toys"
    )
    path.unlink()
    data = load_interactions(DataConfig(name="toys"))
    assert (data.name, data.num_users, data.num_items, len(data)) == ("toys", 6, 7, 42)
    assert "toys" in run(capsys, "data", "list")[1]
    assert run(capsys, "data", "describe", "toys")[0] == 0
    code, _, error = run(capsys, "data", "describe", "toy")
    assert code == 3 and "did you mean 'toys'" in error
    code, _, error = run(capsys, "data", "describe", "toys", "--data.user-column", "who")
    assert code == 2 and "was added with its columns" in error
    # The same name for other data: the name means the newest.
    write_log(path, users=8)
    assert run(capsys, "data", "add", "toys", "--from-file", path, "--time-column", "ts")[0] == 0
    assert load_interactions(DataConfig(name="toys")).num_users == 8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("a/b", "--from-file", "x.csv"), "is no name for a data set"),
        (("ml-100k", "--from-file", "x.csv"), "choose another name"),
        (("toys",), "needs a file to read: jaxrec data add NAME --from-file PATH"),
    ],
)
def test_names_that_cannot_be_added(cache, capsys, words, message):
    code, _, error = run(capsys, "data", "add", *words)
    assert code == 2 and message in error


@pytest.mark.parametrize(
    "words",
    [
        ("data", "list", "--foo"), ("data", "list", "extra"), ("data", "describe", "toys", "extra"),
        ("doctor", "nosuch"), ("--version", "extra"), ("help", "extra"), ("list", "extra"),
        ("copy", "quickstart", "a.py", "extra"), ("report", "run", "extra"),
        ("eval", "run", "extra"), ("train", "quickstart", "extra"), ("ids", "quickstart", "extra"),
        ("recommend", "run", "extra"), ("compare", "--foo"),
    ],
)  # fmt: skip
def test_an_argument_that_nothing_reads_is_refused(cache, capsys, words):
    code, text, error = run(capsys, *words)
    assert code == 2 and text == "" and (words[-1] in error)


@pytest.mark.parametrize(
    ("rows", "extra", "needed"),
    [
        ([(u, i) for u in range(6) for i in range(6)], (), ""),
        ([(u, i) for u in range(2) for i in range(3)], (), " --data.min-count 0"),
        ([(0, 0), (1, 0), (1, 1), (1, 2)], (), " --data.min-count 0 --data.short-users drop"),
        ([(0, 0), (1, 0), (1, 1), (1, 2)], ("--min-count", 0), "--data.short-users drop"),
    ],
)
def test_describe_names_the_options_that_training_needs(cache, capsys, rows, extra, needed):
    path = cache / "log.csv"
    path.write_text("user,item\n" + "".join(f"u{u},i{i}\n" for u, i in rows))
    text = run(capsys, "data", "describe", path, *extra)[1].splitlines()[-1]
    assert text.endswith(needed or str(path))
    options = dict(zip(text.split()[4::2], text.split()[5::2], strict=True))
    load_dataset(
        DataConfig(
            name=options["--data.name"],
            min_count=int(options.get("--data.min-count", 5)),
            short_users=options.get("--data.short-users", "error"),
        )
    )


def test_the_filter_names_the_file_and_not_the_default_name(cache, capsys):
    (cache / "x.csv").write_text("user,item\nu,1\nu,2\n")
    with pytest.raises(DataError, match=r"5-core of '.*x\.csv'"):
        load_dataset(DataConfig(from_file=str(cache / "x.csv")))


def test_a_pipe_ends_at_once(cache, capsys):
    os.mkfifo(cache / "x.csv")
    code, text, error = run(capsys, "data", "check", cache / "x.csv")
    assert code == 3 and "this is a pipe" in error and not last_json(text)["accepted"]


@pytest.mark.parametrize("words", [["--from-file", "x.csv"], ["--from-file=x.csv"]])
def test_the_file_is_named_in_both_spellings(words):
    assert override(Config(), words, prog="train").data.from_file == "x.csv"
