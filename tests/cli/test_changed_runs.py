"""A run directory whose data, IDs or prepared files changed, or that somebody else is using."""

import dataclasses
import hashlib
import json
import os
import shutil

import numpy as np
import pytest

from jaxrec.cli.main import main
from jaxrec.cli.recommend import show
from jaxrec.core import DataError
from jaxrec.data.dataset import load_dataset, training_source
from jaxrec.ids import ItemCodes
from jaxrec.runs import Recommendations, RecommendedItem
from jaxrec.testing import tiny_config
from jaxrec.testing.launch import held


@pytest.fixture(scope="module")
def finished(tiny_run, tmp_path_factory):
    return tiny_run(tmp_path_factory.mktemp("changed"))


@pytest.fixture
def again(finished, tmp_path, capsys):
    """Start the command again on a copy of the run; return the exit code and what it says."""
    copy = tmp_path / "run"
    shutil.copytree(finished / "run", copy)
    capsys.readouterr()

    def command():
        code = main(["train", str(finished / "tiny.py"), "--run-dir", str(copy)])
        return code, capsys.readouterr().err

    return copy, command


@pytest.mark.parametrize("name", ["interactions.csv", "items.csv"])
def test_a_run_resumes_on_no_other_data(finished, again, name):
    _, command = again
    path = finished / name
    before = path.read_text()
    try:
        lines = before.splitlines(keepends=True)
        changed = lines[-1].replace(",", ", changed ", 1) if name == "items.csv" else ""
        path.write_text("".join(lines[:-1]) + changed)
        code, words = command()
    finally:
        path.write_text(before)
    assert code == 3 and "was trained on other data: fingerprint" in words


@pytest.mark.parametrize("name", ["codes.npz", "text_vectors.npy"])
def test_a_run_resumes_on_no_other_ids_or_text_vectors(again, name):
    copy, command = again
    path = copy / "ids" / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    code, words = command()
    assert code == 3 and f"ids/{name} has changed since the run began" in words
    path.unlink()
    code, words = command()
    assert code == 3 and f"ids/{name} is gone since the run began" in words


def test_prepared_data_are_as_they_were_written_or_refused(finished, tmp_path):
    dataset = load_dataset(tiny_config(finished / "interactions.csv").data)
    shutil.copytree(finished / "run" / "data", tmp_path / "data")
    (records,) = (tmp_path / "data").glob("*/*/users/*/*array_record*")
    whole, refused = records.read_bytes(), 0
    written = np.flatnonzero(np.frombuffer(whole, np.uint8))  # most of the file is padding
    for place in written[:: len(written) // 40]:
        content = bytearray(whole)
        content[place] ^= 1
        records.write_bytes(content)
        try:
            source = training_source(dataset, tmp_path / "data")
        except DataError as error:
            assert "delete" in str(error)
            refused += 1
            continue
        for user, history in enumerate(dataset.split.train.sequences()):
            np.testing.assert_array_equal(source[user], history)
    assert refused > 20


def test_checkpoints_of_a_run_with_other_ids_are_refused(finished, tmp_path, capsys):
    # The IDs of two items are exchanged, so every array keeps its shape; the run itself is whole.
    copy = tmp_path / "run"
    shutil.copytree(finished / "run", copy)
    codes = ItemCodes.load(copy / "ids")
    order = np.arange(codes.num_items)
    order[[0, 1]] = 1, 0
    dataclasses.replace(codes, codes=codes.codes[order]).save(copy / "ids")
    facts = json.loads((copy / "env.json").read_text())
    for name in facts["files"]:
        facts["files"][name] = hashlib.sha256((copy / name).read_bytes()).hexdigest()
    (copy / "env.json").write_text(json.dumps(facts))
    for words in (
        ["recommend", str(copy), "--user", "u001", "--top", "2"],
        ["train", str(finished / "tiny.py"), "--run-dir", str(copy)],
    ):
        assert main(words) == 3
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert "belongs to a run with other item IDs" in said


def test_titles_and_names_cannot_act_on_the_terminal(finished, tmp_path, capsys):
    copy = tmp_path / "my run"
    shutil.copytree(finished / "run", copy)
    assert main(["recommend", str(copy), "--user", "u001", "--top", "2"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"next: jaxrec report '{copy}'"
    item = RecommendedItem(item=1, title="\x1b[2JAlien", score=1.0)
    show(Recommendations(user="a\nb", history=("c\rd",), items=(item,), score="score"))
    said = capsys.readouterr().out
    assert r"user a\nb," in said and r"  c\rd" in said and r"\x1b[2JAlien" in said
    assert all(character.isprintable() or character == "\n" for character in said)
    assert main(["recommend", str(copy), "--user", "\x1b[2J"]) == 2
    assert r"no user '\x1b[2J'" in capsys.readouterr().err


def test_a_name_that_is_not_utf8_is_refused_before_any_work(finished, tmp_path, capsys):
    directory = tmp_path / os.fsdecode(b"caf\xe9")
    assert main(["train", str(finished / "tiny.py"), "--run-dir", str(directory)]) == 2
    assert r"caf\udce9 is not UTF-8" in capsys.readouterr().err
    assert not (directory / "config.json").exists()


def test_a_directory_in_use_is_refused_and_left_alone(again):
    copy, command = again
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*") if path.is_file()}
    with held(copy) as holder:
        code, words = command()
    assert code == 4 and f"{copy} is in use by process {holder} on" in words
    del before[copy / "run.lock"]
    assert before == {path: path.stat().st_mtime_ns for path in before}
