"""The fuzzer finds planted faults, and the readers of files end with data or one line."""

import importlib
import json
import time
from pathlib import Path

import pytest

from jaxrec.core import DataError

# Readers that import nothing slow; the others are tried by the command.
QUICK = (
    "csv", "parquet", "gzip", "zip", "json-lines", "amazon", "sequences", "recbole", "movielens",
    "minionerec", "instructions", "codes", "recruitment",
)  # fmt: skip
TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture(scope="module")
def fuzz():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(TOOLS)
        yield importlib.import_module("fuzz")


def raising(error):
    def read(folder):
        raise error

    return read


@pytest.mark.parametrize(
    ("read", "kind"),
    [
        (lambda folder: 1, "read"),
        (raising(DataError("one line")), "refused"),
        (raising(DataError("two\nlines")), "message"),
        (raising(DataError("x" * 5000)), "message"),
        (raising(KeyError("x")), "traceback"),
        (raising(ValueError("x")), "traceback"),
        (raising(RecursionError("x")), "traceback"),
    ],
)
def test_outcomes_are_told_apart(fuzz, read, kind, tmp_path):
    reader = fuzz.Reader(name="x", samples=list, read=read)
    assert fuzz.attempt(reader, tmp_path).kind == kind


def test_inputs_depend_on_the_seed_alone_and_differ(fuzz):
    reader = next(each for each in fuzz.READERS if each.name == "movielens")
    samples = reader.samples()
    first, second = ([fuzz.make_input(reader, samples, 1, n) for n in range(40)] for _ in range(2))
    assert first == second
    other = [fuzz.make_input(reader, samples, 2, n) for n in range(40)]
    assert sum(a != b for a, b in zip(first, other, strict=True)) > 35
    changed = [
        sum(folder[name] != sample[name] for name in sample)
        for folder in first
        for sample in samples
        if set(sample) == set(folder)
    ]
    assert max(changed) == 1  # one file of a folder is damaged at a time


def test_hangs_and_crashes_of_the_process_are_counted(fuzz, monkeypatch):
    class Channel:
        def __init__(self, answers):
            self.answers = answers

        def send(self, number):
            pass

        def poll(self, limit):
            return self.answers is not None

        def recv(self):
            raise EOFError

        def close(self):
            pass

    class Process:
        exitcode = -11

        def join(self, seconds=None):
            pass

        def kill(self):
            pass

    for answers, kind in ((None, "hang"), ([], "crash")):
        worker = fuzz.Worker(fuzz.READERS[0], 0)
        worker._process, worker._channel = Process(), Channel(answers)
        outcome, _ = worker.ask(0, limit=0.1)
        assert outcome.kind == kind and worker._process is None


def test_readers_of_data_take_a_few_damaged_files(fuzz, tmp_path):
    start = time.perf_counter()
    assert set(QUICK) <= {reader.name for reader in fuzz.READERS}
    for reader in (each for each in fuzz.READERS if each.name in QUICK):
        samples = reader.samples()
        for number, sample in enumerate(samples):
            reader.read(fuzz.write(sample, tmp_path / reader.name / f"good-{number}"))
        kinds = {}
        for number in range(40):
            folder = fuzz.make_input(reader, samples, 5, number)
            outcome = fuzz.attempt(reader, fuzz.write(folder, tmp_path / reader.name / str(number)))
            kinds.setdefault(outcome.kind, []).append(outcome.reason)
        assert set(kinds) <= {"read", "refused"}, (reader.name, kinds)
    assert time.perf_counter() - start < 60


@pytest.mark.slow
def test_the_command_reports_in_one_line(fuzz, capsys):
    assert fuzz.main(["--reader", "csv", "zip", "--inputs", "50", "--seed", "3"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["failed"] == 0 and set(found["readers"]) == {"csv", "zip"}
    row = found["readers"]["csv"]
    assert row["inputs"] == row["read"] + row["refused"] == 50 and row["peak_mib"] > 0
