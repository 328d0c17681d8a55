"""Shards by other engines: the same bytes in any order, and each continues the work of another."""

import pytest

import jaxrec
from jaxrec.cli.main import main
from jaxrec.core import LOCAL, ConfigError, LocalEngine
from jaxrec.serve import BatchOptions, recommend_all

from .runs import sasrec_run, without_data

cloudpickle = pytest.importorskip("ray", reason="needs the extra ray").cloudpickle


class Elsewhere:
    """Two workers that open everything themselves; pieces come back in disorder.

    Attributes:
      stop: number of pieces after which the work ends.
    """

    def __init__(self, stop=None):
        self.stop, self.done = stop, []

    def map(self, job, pieces):
        sent = cloudpickle.dumps(job)
        works = [cloudpickle.loads(sent)() for _ in range(2)]
        order = sorted(range(len(pieces)), key=lambda number: (number * 7) % 11)
        for number in order[: self.stop]:
            self.done.append(pieces[number])
            yield number, works[number % 2](pieces[number])
        if self.stop is not None:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    _, path = sasrec_run(tmp_path_factory.mktemp("engines"))
    without_data(path)
    return jaxrec.open(path)


def parts(out):
    return {path.name: path.read_bytes() for path in out.glob("part*")}


@pytest.fixture(params=["all", "users.csv", "histories.jsonl"])
def options(request, model, tmp_path, monkeypatch):
    users = request.param
    if users == "users.csv":
        lines = [f"u{(n * 5) % 40:03d}," for n in range(20)] + [f",i{n:03d}|i003" for n in range(9)]
        (tmp_path / users).write_text("\n".join(["user,history", *lines]) + "\n")
    elif users == "histories.jsonl":
        rows = [f'{{"history": ["i{n:03d}", "i001"]}}' for n in range(30)]
        (tmp_path / users).write_text("\n".join(rows) + "\n")
    # A relative path, and workers that are elsewhere.
    monkeypatch.chdir(tmp_path)
    return BatchOptions(users=users, top=3, shard_users=4)


def test_every_engine_writes_the_same_bytes_and_continues_anothers_work(
    model, tmp_path, options, monkeypatch
):
    recommend_all(model, options, tmp_path / "here")
    wanted = parts(tmp_path / "here")
    assert sorted(wanted) == [f"part-{n:05}.parquet" for n in range(len(wanted))]
    other = Elsewhere()
    recommend_all(model, options, tmp_path / "there", other)
    assert parts(tmp_path / "there") == wanted
    assert other.done != sorted(other.done)
    # Some shards by one engine, with gaps, and the others by the other one.
    stopped = Elsewhere(stop=3)
    with pytest.raises(KeyboardInterrupt):
        recommend_all(model, options, tmp_path / "both", stopped)
    assert len(parts(tmp_path / "both")) == 3
    assert recommend_all(model, options, tmp_path / "both", LOCAL).written == len(wanted) - 3
    assert parts(tmp_path / "both") == wanted
    again = Elsewhere()
    assert recommend_all(model, options, tmp_path / "both", again).written == 0
    assert again.done == []


def test_workers_do_not_see_changes_that_are_not_saved(model, tmp_path):
    changed = jaxrec.open(model.directory)
    changed.remove_items(["i003"])
    options = BatchOptions(users="all", top=3)
    with pytest.raises(ConfigError, match="are not saved"):
        recommend_all(changed, options, tmp_path / "out", Elsewhere())
    assert not (tmp_path / "out").exists()
    recommend_all(changed, options, tmp_path / "out", LocalEngine())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workers", "2"], "--workers is read with --engine ray"),
        (["--address", "a:1"], "--address is read with --engine ray"),
        (["--engine", "ray"], "--engine ray needs the number of workers: --workers N"),
        (["--engine", "ray", "--workers", "0"], "--workers must be at least 1, got 0"),
        (["--engine", "ray", "--workers", "two"], "--workers"),
        (["--engine", "spark"], "--engine"),
        (["--engine", "ray", "--workers", "1", "--address", "nowhere"], "is not HOST:PORT"),
        (["--engine", "ray", "--workers", "1", "--address", "127.0.0.1:1"], "nothing answers"),
    ],
)
def test_bad_words_are_refused_before_any_work(model, tmp_path, capsys, words, message):
    out = tmp_path / "out"
    for command in (
        ["recommend", str(model.directory), "--users", "all", "--out", str(out)],
        ["ids", "quickstart", "--run-dir", str(out)],
    ):
        assert main([*command, *words]) == 2
        assert message in capsys.readouterr().err
        assert not out.exists()


def test_the_engine_belongs_to_users(model, capsys):
    words = ["--user", "u001", "--engine", "ray", "--workers", "1"]
    assert main(["recommend", str(model.directory), *words]) == 2
    assert "--engine is read with --users" in capsys.readouterr().err
