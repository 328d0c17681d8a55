"""Wrong words on the command line, and what ends a command from inside: one line and the code."""

import jax
import pytest

from jaxrec.cli.main import main


def said(capsys, code, words):
    """The one line on standard error of a command that ends with this code."""
    assert main(words) == code
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"jaxrec {words[0]}: ")
    return line.partition(": ")[2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "quickstart", "--run-dir"], "--run-dir needs a value"),
        (["train", "quickstart", "--run-dir="], "--run-dir needs a value"),
        (["train", "quickstart", "--run-dir", ""], "--run-dir needs a value"),
        (
            ["train", "quickstart", "--run-dir", "--train.steps", "5"],
            "--run-dir needs a value, got the option --train.steps",
        ),
        (
            ["train", "quickstart", "--run-dir=a", "--run-dir", "b"],
            "--run-dir is given 2 times; give it once",
        ),
        (
            ["report", "runs/a", "runs/b"],
            "unexpected argument 'runs/b'; jaxrec report --help lists all",
        ),
        (["doctor", "--all"], "unexpected argument '--all'; jaxrec doctor takes none"),
        (["data", "list", "all"], "unexpected argument 'all'; jaxrec data list takes none"),
    ],
)
def test_words_that_belong_nowhere_are_named(capsys, words, message):
    assert said(capsys, 2, words) == message


@pytest.mark.parametrize("command", ["train", "ids", "sweep", "compare"])
@pytest.mark.parametrize("place", ["file", "file/run", "/proc/run"])
def test_a_run_directory_that_cannot_be_written_is_named_before_any_work(
    tmp_path, monkeypatch, capsys, command, place
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    config = "tallrec/shots" if command == "sweep" else "quickstart"
    more = ["--dry-run"] if command == "train" else []
    assert main([command, config, "--run-dir", place, *more]) == 4
    shown = capsys.readouterr()
    assert shown.err.startswith(f"jaxrec {command}: cannot write in the directory ")
    assert f"{place}: " in shown.err and shown.err.endswith("; give another --run-dir\n")
    assert shown.out == ""  # not even the data are described


@pytest.mark.parametrize(
    "error", [MemoryError(), jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of\nmemory")]
)
def test_a_command_that_runs_out_of_memory_names_settings(monkeypatch, capsys, error):
    def run(_):
        raise error

    monkeypatch.setattr("jaxrec.cli.list.run", run)
    line = said(capsys, 4, ["list"])
    assert line.startswith("out of memory") and "lower --train.batch-size" in line


def test_other_errors_of_the_compiler_stay_what_they_are(monkeypatch):
    def run(_):
        raise jax.errors.JaxRuntimeError("INTERNAL: lost")

    monkeypatch.setattr("jaxrec.cli.list.run", run)
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        main(["list"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["amazon/sasrec", "--model.no-history-negatives"],
            "model.repeat_bias is learned from the items of the history among the negatives; set "
            "model.history_negatives to true, or repeat_bias to false",
        ),
        (
            ["amazon/hstu", "--model.num-heads", "3"],
            "model.width 128 is not a multiple of model.num_heads 3; change one of them, or set "
            "model.head_size",
        ),
        # Of a baseline in another system's config, these are the options.
        (
            ["quickstart", "--sasrec.num-heads", "5"],
            "sasrec.width 64 is not a multiple of sasrec.num_heads 5; change one of them",
        ),
    ],
)
def test_messages_name_the_settings_that_the_command_line_has(capsys, words, message):
    assert said(capsys, 2, ["train", *words, "--dry-run"]) == message
