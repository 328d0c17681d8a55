"""`jaxrec corpus`: what it prints and writes, a dry run, and errors of one line."""

import json
import os

import pytest

from jaxrec.cli.main import main
from jaxrec.data.corpora import BlockSource

CONFIG = """
from jaxrec.data.corpora import CorpusConfig, Quality, Source, Tokenizer


def get_config() -> CorpusConfig:
    return CorpusConfig(
        source=Source(paths=("a.txt",), form="blank_lines"),
        quality=Quality(rules=("c4",)),
        tokenizer=Tokenizer(vocab_size=400, sentinels=2),
    )
"""
TEXT = "\n\n".join(
    [
        "A film is here. It is good. So is it all. We saw it. They did not see it. It ended.",
        "too short",
        "Another film is here. It is bad. So is it all. I saw it. You did not see it. It was long.",
        "A FILM is here! It is good. So is it all. We saw it. They did not see it. It ended.",
    ]
)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(CONFIG)
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "numbers.jsonl").write_text('{"text": 1}\n')
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


def test_it_writes_a_corpus_and_ends_with_the_report(place, capsys):
    assert main(["corpus", "own.py", "--blocks.length", "32"]) == 0
    out = capsys.readouterr().out
    report = json.loads(out.splitlines()[-1])
    assert "too few sentences" in out
    assert "exact duplicate" in out
    assert "saved in corpora/own" in out
    assert report == json.loads((place / "corpora" / "own" / "report.json").read_text())
    assert report["documents"] == 2
    assert len(BlockSource(place / "corpora" / "own")) == report["blocks"]
    # The same command again reads the report; other settings are refused.
    assert main(["corpus", "own.py", "--blocks.length", "32"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == report
    assert main(["corpus", "own.py", "--blocks.length", "64"]) == 2
    assert "blocks.length is 64 and was 32; give another directory" in capsys.readouterr().err


def test_a_dry_run_shows_the_drops_and_writes_nothing(place, capsys):
    assert main(["corpus", "own.py", "--dry-run", "--out", "elsewhere"]) == 0
    out = capsys.readouterr().out
    stages = json.loads(out.splitlines()[-1])["stages"]
    assert stages["c4"] == {"in": 4, "rejected": {"too few sentences": 1}}
    assert "nothing written; next: jaxrec corpus own.py --out elsewhere" in out
    assert sorted(path.name for path in place.iterdir()) == [
        "a.txt",
        "numbers.jsonl",
        "own.py",
        "pipe",
    ]


def test_a_dry_run_that_leaves_no_document_does_not_send_the_user_on(place, capsys):
    (place / "short.txt").write_text("too short\n\ntoo short as well\n")
    for path in ("short.txt", "empty.txt"):
        (place / "empty.txt").touch()
        assert main(["corpus", "own.py", "--dry-run", "--source.paths", path]) == 0
        out = capsys.readouterr().out
        assert "no document is left" in out
        assert "next:" not in out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--source.paths", "b.txt"], 3, "b.txt: no such file; check --source.paths"),
        (["--source.paths", ""], 3, "--source.paths has an empty path ''; give . for this"),
        (["--source.paths", "pipe"], 3, "pipe: this is a pipe; give a regular file"),
        (
            ["--source.paths", "numbers.jsonl", "--source.form", "auto"],
            3,
            "column 'text' holds no text; columns of text: no",
        ),
        (["--evaluation.paths", "b.txt"], 3, "b.txt: no such file; check --evaluation.paths"),
        (["--scores.ngram-texts", "b.txt"], 3, "b.txt: no such file; check --scores.ngram-texts"),
        (["--out", "a.txt/b"], 4, "cannot write in the directory a.txt/b: File exists; give anoth"),
        # 256 bytes, 52 letters, 10 digits, 32 signs and a space; 5 roles, 3 modes and 2 sentinels.
        (["--tokenizer.kind", "unigram", "--tokenizer.vocab-size", "360"], 2, "give at least 361"),
        (["--out", "a.txt"], 2, "a.txt is a file; give a directory by --out"),
        (["--out", "."], 2, "holds something else (a.txt) and no corpus"),
        (["--duplicates.threshold", "1.5"], 2, "--duplicates.threshold must be in (0, 1], got 1.5"),
        (["--blocks.length", "0"], 2, "--blocks.length must be in [1, 1048576], got 0"),
        (["--blocks.length", "1048577"], 2, "--blocks.length must be in [1, 1048576], got"),
        (["--tokenizer.vocab-size", "100"], 2, "vocab"),
        (["--quality.rules", "c5"], 2, "c5"),
        (["--personall", "True"], 2, "--personal"),
        (["--scores.good", "a.txt"], 2, "--scores.good and --scores.bad belong together"),
        (["--scores.languages", "en=a.txt"], 2, "must name files of two languages or more"),
        (["--evaluation.paths", "own.py", "--evaluation.words", "900"], 3, "lower --evaluation.wo"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(place, capsys, words, code, message):
    assert main(["corpus", "own.py", *words]) == code
    error = capsys.readouterr().err.strip()
    assert message in error
    assert error.splitlines()[-1].startswith("jaxrec corpus: ")
    assert not (place / "corpora").exists() or not list((place / "corpora").rglob("report.json"))
