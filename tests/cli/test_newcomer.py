"""What a newcomer types wrong, or finds half written: one line, the right code, and the way on."""

import shutil

import pytest

from jaxrec.cli.main import main

# All that commands read of a run before its checkpoints.
SMALL = ("config.json", "env.json", "train.json", "metrics.jsonl")


@pytest.fixture(scope="module")
def trained(tiny_run, tmp_path_factory):
    return tiny_run(tmp_path_factory.mktemp("newcomer"))


@pytest.fixture
def place(trained, tmp_path, monkeypatch):
    """A directory with a run in `runs/a`, and things that are no runs."""
    run = tmp_path / "runs" / "a"
    run.mkdir(parents=True)
    for name in SMALL:
        shutil.copy(trained / "run" / name, run)
    shutil.copytree(trained / "run" / "ids", run / "ids")
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "llama"}')
    shutil.copy(trained / "tiny.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def says(capsys, code, command, *words):
    """The command exits with the code, and its one line on standard error has all the words."""
    assert main(command) == code
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith(f"jaxrec {command[0]}: "), lines
    for word in words:
        assert word in lines[0], lines[0]
    assert len(lines[0]) < 1000


COMMANDS = {
    "report": [],
    "eval": [],
    "recommend": ["--user", "u001"],
    "export": ["--out", "out"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("run", "code", "words"),
    [
        ("nowhere", 3, ["nowhere is no run directory (no such directory); make one by"]),
        ("runs/aa", 3, ["no such directory), did you mean 'runs/a'? Otherwise make one"]),
        ("empty", 3, ["empty is no run directory (it has no config.json); make one by"]),
        ("runs", 3, ["runs is no run directory", "; runs in it: runs/a"]),
        ("quickstart", 2, ["quickstart is a config and no run", "jaxrec train quickstart", "give"]),
        ("tiger/ml100k", 2, ["train it by jaxrec train tiger/ml100k, then give runs/tiger-ml100k"]),
        ("tiny.py", 2, ["tiny.py is a config and no run; train it by jaxrec train tiny.py"]),
    ],
)
def test_what_is_no_run_is_named_with_what_to_do(place, capsys, command, run, code, words):
    says(capsys, code, [command, run, *COMMANDS[command]], *words)
    assert not (place / "out").exists()


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ("file", "file is no run directory (it is a file); give the directory"),
        ("model", "model is no run directory (its config.json is that of a model)"),
    ],
)
def test_a_file_and_a_model_are_no_runs(place, capsys, run, words):
    says(capsys, 3, ["report", run], words)
    says(capsys, 3, ["eval", run], words)


def test_a_config_that_was_trained_already_names_its_runs(place, capsys):
    shutil.copytree("runs/a", "runs/tiny")
    shutil.copytree("runs/a", "runs/tiny-quick")
    says(capsys, 2, ["eval", "tiny.py"], "give a run of it: runs/tiny, runs/tiny-quick")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere"], 2, "'nowhere' is neither a config nor a run; configs: jaxrec list"),
        (["runs/aa"], 2, "'runs/aa' is neither a config nor a run, did you mean 'runs/a'? Configs"),
        (["quickstrat"], 2, "did you mean 'quickstart'? Configs"),
        (["file"], 2, "file is no Python file"),
        (["empty"], 3, "empty is no run directory"),
        (["runs/a", "runs/a"], 2, "two systems are called a"),
        (["runs/a", "tallrec/ml100k"], 2, "ranks no next items"),
        (["runs/a", "quickstart"], 2, "other settings of data"),
        (["runs/a", "--seeds", "0"], 2, "--seeds must be at least 1"),
        (["runs/a", "--write", "absent.md"], 3, "absent.md cannot be read (No such file"),
        (
            ["runs/a", "--write", "empty"],
            3,
            "empty cannot be read (Is a directory); give a Markdown",
        ),
        (["runs/a", "--run-dir", "file"], 4, "file: File exists; give another --run-dir"),
    ],
)
def test_what_cannot_be_compared_is_named(place, capsys, words, code, said):
    assert main(["compare", *words]) == code
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line, line


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["quickstart"], 2, "with several seeds: jaxrec compare "),
        (["pretrain/lm"], 2, "has one variant and --seeds 3"),
        (["runs/a"], 2, "runs/a is a directory, and a config is needed"),
        (["tallrec/shots", "--seeds", "0"], 2, "--seeds must be at least 1"),
        (["tallrec/shots", "--seeds", "many"], 2, "expected a whole number, got 'many'"),
        (["tallrec/shots", "--run-dir", "runs/a"], 2, "runs/a holds a run, not a sweep; give"),
        (["tallrec/shots", "--run-dir", "file"], 4, "file: File exists; give another --run-dir"),
    ],
)
def test_what_cannot_be_swept_is_named(place, capsys, words, code, said):
    says(capsys, code, ["sweep", *words], said)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--out", "runs"], 2, "runs is in use"),
        (["--out", "file"], 2, "file is in use"),
        (["--out", "file/out"], 4, "cannot make file/out, because "),
        ([], 2, "--out"),
        (["--out", "out", "--shard-mb", "0"], 2, "--shard-mb must be at least 1"),
        (["--out", "out", "--to", "peft"], 2, "there is no adapter: jaxrec export runs/a --to hf"),
    ],
)
def test_what_cannot_be_exported_is_named(place, capsys, words, code, said):
    says(capsys, code, ["export", "runs/a", *words], said)
    assert not (place / "out").exists()


BROKEN = [
    ("config.json", b"{", 3, "config.json is not valid JSON"),
    ("config.json", b"\xff\xfe", 3, "config.json is not valid JSON"),
    ("config.json", b"[1]", 3, "config.json: the content must be an object, got [1]"),
    ("config.json", b"null", 3, "config.json: the content must be an object"),
    ("config.json", b"{}", 3, "config.json holds no settings"),
    ("config.json", b'{"system": 5, "train": {}}', 3, "config.json: 'system' must be str"),
    ("config.json", b'{"train": 5}', 2, "config.json: train must be settings by name, got 5"),
    ("config.json", b'{"' + b"9" * 5000 + b'": {}}', 2, f"unknown setting '{'9' * 59}"),
    ("config.json", b'{"trian": {}}', 2, "unknown setting 'trian', did you mean 'train'"),
    ("config.json", b'{"data": {"name": 3}}', 2, "config.json: --data.name must be str, got 3"),
    ("env.json", b"[]", 3, "env.json: the content must be an object"),
    ("env.json", b'{"data": 5}', 3, "env.json"),
    ("train.json", b"[]", 3, "train.json: the content must be an object"),
    ("train.json", b'{"seconds": "x"}', 3, "train.json: 'seconds' must be float, got 'x'"),
    ("metrics.jsonl", b"5\n", 3, "metrics.jsonl: line 1: the content must be an object"),
    ("metrics.jsonl", b'{"a": 1}\n', 3, "metrics.jsonl: line 1: the content has no 'step'"),
    ("eval.json", b"[]", 3, "eval.json: the content must be an object"),
    ("eval.json", b"{}", 3, "eval.json lacks rows, comparisons"),
]
_TABLES = (
    '"comparisons": [], "protocol": {}, "leaks": {}, "samples": [], "invalid_items": 0, '
    '"repeated_items": 0'
)
BROKEN += [
    ("eval.json", f'{{"rows": {rows}, {_TABLES}}}'.encode(), 3, said)
    for rows, said in (
        (
            "[]",
            "('rows' must be an object, got []); write it again: jaxrec eval runs/a",
        ),
        ("{}", "eval.json has no row 'model'"),
        ('{"model": 5}', "eval.json is damaged ('rows'['model'] must be an object, got 5)"),
        ('{"model": {"metrics": {"hr@10": "x"}}}', "['hr@10'] must be float, got 'x'"),
    )
]


@pytest.mark.parametrize(("name", "content", "code", "said"), BROKEN)
def test_a_damaged_file_of_a_run_is_named(place, capsys, name, content, code, said):
    (place / "runs" / "a" / name).write_bytes(content)
    says(capsys, code, ["report", "runs/a"], said)
    assert not (place / "runs" / "a" / "report.html").exists()


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"data": 5}', b'{"data": {}}'])
def test_facts_of_the_data_that_are_damaged_stop_a_run_from_being_used(place, capsys, content):
    (place / "runs" / "a" / "env.json").write_bytes(content)
    says(capsys, 3, ["recommend", "runs/a", "--user", "u001"], "runs/a/env.json", "restore it")


def test_a_run_that_is_not_trained_to_its_end_says_what_to_do(place, capsys):
    (place / "runs" / "a" / "train.json").unlink()
    said = "train.json is missing; the run is not trained to its end; finish it by the jaxrec train"
    says(capsys, 3, ["compare", "runs/a"], said)
    assert main(["report", "runs/a"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "next: jaxrec train CONFIG --run-dir runs/a"
