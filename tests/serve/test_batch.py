"""Batch recommendations: the lists of the object, whole shards, and work that continues."""

import csv
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import jaxrec
from jaxrec.cli.main import main
from jaxrec.core import ConfigError, DataError
from jaxrec.serve import BatchOptions, read_users, recommend_all, shards

from .runs import sasrec_run, without_data

pa = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    _, path = sasrec_run(tmp_path_factory.mktemp("batch"))
    without_data(path)
    return path


@pytest.fixture(scope="module")
def model(run):
    return jaxrec.open(run)


def table(out):
    return parquet.read_table(out).to_pandas()


def expected(model, users, top, **options):
    frame = model.recommend(users=users, top=top, **options).to_pandas()
    return frame[["user", "rank", "item", "title"]].to_dict("list")


def test_all_users_get_the_lists_of_the_object(run, model, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["recommend", str(run), "--users", "all", "--out", str(out), "--top", "5"]
    assert main([*words, "--shard-users", "16"]) == 0
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert line == {"users": 40, "shards": 3, "written": 3}
    assert sorted(path.name for path in out.iterdir()) == [
        "_state",
        "part-00000.parquet",
        "part-00001.parquet",
        "part-00002.parquet",
    ]
    found = table(out)
    users = [f"u{n:03d}" for n in range(40)]
    assert found[["user", "rank", "item", "title"]].to_dict("list") == expected(model, users, 5)
    # Started again, there is nothing left to do.
    before = {path: path.stat().st_mtime_ns for path in out.glob("part*")}
    assert main([*words, "--shard-users", "16"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["written"] == 0
    assert {path: path.stat().st_mtime_ns for path in out.glob("part*")} == before
    # Other settings would mix two kinds of lists.
    assert main([*words[:-1], "6", "--shard-users", "16"]) == 2
    assert "top was 5 and is 6" in capsys.readouterr().err


ROWS = [
    {"user": "u005"},
    {"history": ["i003", "Film 004", "i005"]},
    {"user": "ann", "history": ["i003", "Film 004", "i005"]},
    {"user": "u039"},
]


def write(path, kind):
    if kind == "parquet":
        rows = [{"user": row.get("user"), "history": row.get("history")} for row in ROWS]
        parquet.write_table(pa.Table.from_pylist(rows), path)
    elif kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, ROWS)) + "\n\n")
    else:
        lines = [f"{row.get('user', '')},x,{'|'.join(row.get('history', []))}" for row in ROWS]
        text = "\n".join(["user,other,history", *lines]) + "\n"
        path.write_bytes(gzip.compress(text.encode()) if kind == "csv.gz" else text.encode())
    return path


@pytest.mark.parametrize("kind", ["parquet", "csv", "csv.gz", "jsonl"])
def test_users_and_histories_are_read_from_every_kind_of_file(model, tmp_path, kind):
    path = write(tmp_path / f"users.{kind}", kind)
    done = recommend_all(model, BatchOptions(users=str(path), top=4, shard_users=3), tmp_path / "o")
    assert (done.users, done.shards) == (4, 2)
    found = table(tmp_path / "o")
    assert found["user"].tolist() == [
        name for name in ("u005", "", "ann", "u039") for _ in range(4)
    ]
    lists = found["item"].to_numpy().reshape(4, 4).tolist()
    assert [lists[0], lists[3]] == model.recommend(users=["u005", "u039"], top=4).items.tolist()
    typed = model.recommend(histories=[["i003", "i004", "i005"]], top=4).items.tolist()
    assert lists[1:3] == typed * 2


def test_histories_of_nobody_are_numbered_through_all_shards(model, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"history": ["i003"]}\n' * 5)
    recommend_all(model, BatchOptions(users=str(path), top=2, shard_users=2), tmp_path / "o")
    assert table(tmp_path / "o")["row"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_limits_come_from_text_files(model, tmp_path):
    (tmp_path / "shelf.txt").write_text("i001\nFilm 002\n\ni007\ni009\n")
    (tmp_path / "out.txt").write_text("i007")
    options = BatchOptions(
        users="all", allowed=str(tmp_path / "shelf.txt"), exclude=str(tmp_path / "out.txt")
    )
    recommend_all(model, options, tmp_path / "o")
    assert set(table(tmp_path / "o")["item"]) == {"i001", "i002", "i009"}
    (tmp_path / "latin.txt").write_bytes("Café".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.txt is not a text in UTF-8 .* at byte 3"):
        recommend_all(
            model, BatchOptions(users="all", exclude=str(tmp_path / "latin.txt")), tmp_path / "p"
        )


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "user\nu005\nu9999\n", r"a\.csv, row 2: no user 'u9999'"),
        ("a.csv", "user,user\nu005,u006\n", "has the column 'user' twice"),
        ("a.csv", "user,histroy\nu005,i003\n", "column 'histroy', did you mean 'history'"),
        ("a.jsonl", '{"user": "u005", "user": "u006"}\n', "line 1: key 'user' is in .* twice"),
        ("a.jsonl", '{"history": ["i003", null]}\n', "row 1, history: .* got None"),
        ("a.jsonl", '{"user": 5.0}\n', "row 1, user: expected a text or a whole number, got 5.0"),
        ("a.jsonl", '{"user": {"a": 1}, "history": ["i003"]}\n', "row 1, user: expected a text"),
        ("a.csv", "history\ni003\ni003|nothing\n", r"a\.csv, row 2: no item 'nothing'"),
        ("a.csv", "usr\nu005\n", "neither a column 'user' nor 'history'; its columns: 'usr';"),
        ("a.csv", "user,history\nu005,\n,\n", "row 2: neither a user nor a history"),
        ("a.csv", "user,history\nu005\n", "cannot be read as CSV"),
        ("a.jsonl", '{"user": "u005"}\n{"user"\n', "line 2: not JSON"),
        ("a.jsonl", "[1]\n", "is no object"),
        ("a.csv", "user\n", "no rows"),
        ("a.txt", "u005\n", r"users are read from \.parquet, \.csv"),
        ("a.parquet", "PAR1 nothing", "a.parquet"),
    ],
)
def test_wrong_files_are_refused_before_anything_is_written(model, tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    options = BatchOptions(users=str(tmp_path / name), shard_users=1)
    with pytest.raises((ConfigError, DataError), match=words):
        recommend_all(model, options, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_wrong_directories_and_options_are_refused(run, model, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("x")
    options = BatchOptions(users="all")
    with pytest.raises(ConfigError, match=r"holds mine\.txt and was not begun by"):
        recommend_all(model, options, tmp_path)
    with pytest.raises(ConfigError, match="is a file; give a directory"):
        recommend_all(model, options, tmp_path / "mine.txt")
    with pytest.raises(ConfigError, match="between 1 and the catalogue's 30 items"):
        recommend_all(model, BatchOptions(users="all", top=31), tmp_path / "o")
    for words, message in (
        (["--users", "all"], "--out DIR"),
        (["--user", "u001", "--history", "i001"], "--user and --history were given"),
        (["--out", "x"], "--out is read with --users"),
        (["--history", "Filn 003"], "did you mean 'Film 003'"),
        (["--history"], "--history was given without a value"),
        (["--users", "", "--top", "3"], "--users was given without a value"),
        (["--users", "all", "--out", "x", "--allowed="], "--allowed was given without a value"),
    ):
        assert main(["recommend", str(run), *words]) == 2
        assert message in capsys.readouterr().err
    assert main(["recommend", str(run), "--history", "i003", "Film 004", "--top", "3"]) == 0
    shown = capsys.readouterr().out
    assert all(t in shown for t in model.recommend(histories=[["i003", "i004"]], top=3).titles[0])
    # More than are left: the heading says how many there are.
    assert main(["recommend", str(run), "--history", "i003", "--top", "30"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith(f"top {len(shown) - 1} after 1 item, ")


def test_work_that_fails_continues_with_the_shards_that_are_missing(model, tmp_path, monkeypatch):
    options = BatchOptions(users="all", top=3, shard_users=7)
    recommend_all(model, options, tmp_path / "whole")
    computed, left = [], iter([True, True, False])
    original = shards.best

    def fails(model, options, piece, *rest):
        if not next(left):
            raise KeyboardInterrupt
        computed.append(len(piece.histories))
        return original(model, options, piece, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(shards, "best", fails)
        with pytest.raises(KeyboardInterrupt):
            recommend_all(model, options, tmp_path / "out")
    assert computed == [7, 7]
    assert recommend_all(model, options, tmp_path / "out").written == 4
    for path in (tmp_path / "whole").glob("part*"):
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_kills_at_ten_moments_lose_and_repeat_nothing(run, tmp_path):
    script = "import sys; from jaxrec.cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = ["recommend", str(run), "--users", "all", "--top", "3", "--shard-users", "1", "--out"]
    command = [sys.executable, "-c", script, *words]
    assert subprocess.run([*command, str(tmp_path / "whole")]).returncode == 0
    rng, out = np.random.default_rng(0), tmp_path / "out"
    for turn in range(10):
        process = subprocess.Popen([*command, str(out)])
        # Between the start and the end of the next shards.
        while len(list(out.glob("part*"))) < turn:
            assert process.poll() is None
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        # Whatever is there is whole.
        for path in out.glob("part*"):
            assert path.read_bytes() == (tmp_path / "whole" / path.name).read_bytes()
    assert subprocess.run([*command, str(out)]).returncode == 0
    names = sorted(path.name for path in out.glob("part*"))
    assert names == [f"part-{n:05}.parquet" for n in range(40)]
    assert table(out).equals(table(tmp_path / "whole"))


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_users(run, tmp_path):
    script = "import sys; from jaxrec.cli.main import main; sys.exit(main(sys.argv[1:]))"
    path = shutil.copytree(run, tmp_path / "run") / "catalogue" / "users.parquet"
    schema, peaks = parquet.read_schema(path), []
    rng = np.random.default_rng(0)
    for parts in (1, 10, 100):
        with parquet.ParquetWriter(path, schema.remove_metadata()) as file:
            for part in range(parts):
                items = rng.integers(0, 30, (4096, 10), np.int32).tolist()
                columns = {"user": [f"{part}-{n}" for n in range(4096)], "items": items}
                if "ratings" in schema.names:
                    columns["ratings"] = [[3.0] * 10] * 4096
                file.write_table(pa.table(columns, schema.remove_metadata()))
        out = tmp_path / f"out-{parts}"
        words = ["recommend", str(tmp_path / "run"), "--users", "all", "--out", str(out)]
        child = subprocess.Popen([sys.executable, "-c", script, *words])
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 0
        peaks.append(usage.ru_maxrss / 1024)
    # The lists alone of all users would be 90 MB more, and their histories 20 MB.
    assert max(peaks) - peaks[0] < 60, peaks


def test_line_breaks_in_quotes_are_read_across_the_pieces_of_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxrec.serve.user_files._BLOCK", 64)
    names = [f"Heat\nPart {number}, {'x' * (1 + number % 7)}" for number in range(50)]
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["history"], *([name] for name in names)])
    assert [row.history for row in read_users(tmp_path / "a.csv")] == [[name] for name in names]


def test_rows_are_read_in_pieces(tmp_path):
    """Reading a file of many rows holds only few of them."""
    import tracemalloc

    path = tmp_path / "many.jsonl"
    with path.open("w") as file:
        for n in range(10_000):
            file.write(json.dumps({"user": f"user-{n}" * 8}) + "\n")
    tracemalloc.start()
    assert sum(1 for _ in read_users(path)) == 10_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < path.stat().st_size / 5
