"""Every Python block of the documentation runs, and every command that it shows parses."""

import csv
import importlib
import importlib.util
import json
import re
import shutil
import sys

import jax
import pytest
import snippets as reader
import tyro

from jaxrec.cli.main import COMMANDS, main
from jaxrec.data import train_bpe
from jaxrec.models import ModelSpec, Pretrained, save_model
from jaxrec.testing import (
    random_params,
    tiny_config,
    tiny_interactions,
    tiny_model,
    tiny_options,
    write_tiny_csv,
)

# `test_add_a_system.py` runs this page as a whole.
ELSEWHERE = "contributing/add_a_system.md"
PAGES = {
    str(p.relative_to(reader.ROOT)): p for p in reader.pages() if not str(p).endswith(ELSEWHERE)
}
WITH_PYTHON = [name for name, path in PAGES.items() if reader.python_blocks(path.read_text())]
COMMANDS_SHOWN = [
    (name, words) for name, path in PAGES.items() for words in reader.commands(path.read_text())
]


# What costs little and needs nothing but the package: these commands run as they stand.
CHEAP = (
    "jaxrec list", "jaxrec doctor", "jaxrec completion", "jaxrec --help", "jaxrec data list",
    "jaxrec copy", "jaxrec capacity --list", "jaxrec scaling plan", "jaxrec feedback agree",
    "jaxrec train quickstart --help",
)  # fmt: skip
RUN = list(dict.fromkeys(tuple(w) for _, w in COMMANDS_SHOWN if " ".join(w).startswith(CHEAP)))


class Parsed(Exception):
    """The options were read without an error."""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A directory with what the pages take for granted: data, a trained run, a language model."""
    place = tmp_path_factory.mktemp("workshop")
    (place / "configs").symlink_to(reader.ROOT / "configs")
    for name in ("mine.py", "widths.py"):
        shutil.copy(reader.ROOT / "configs" / "quickstart.py", place / name)
    data = write_tiny_csv(place)
    interactions = tiny_interactions()
    with open(place / "ratings.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["user_id", "item_id", "timestamp"])
        columns = (interactions.user_ids[interactions.user], interactions.items.ids)
        users, ids = columns[0], columns[1][interactions.item]
        rows.writerows(zip(users, ids, interactions.time, strict=True))
    run, options = place / "runs" / "cid", tiny_options(data)
    settings = ["--ids.scheme", "collaborative", "--ids.clusters", "4", "--ids.leaf", "8"]
    config = place / "tiny.py"
    config.write_text(
        "from jaxrec.testing import tiny_config\n\n\n"
        f"def get_config():\n    return tiny_config({str(data)!r})\n"
    )
    assert tiny_config(data).decode.filter_seen
    assert main(["train", str(config), "--run-dir", str(run), *options, *settings]) == 0
    steps = ["--train.steps", "1", "--train.eval-every", "1"]
    quickstart = str(place / "runs" / "quickstart")
    assert main(["train", str(config), "--run-dir", quickstart, *options, *steps]) == 0
    words = train_bpe(["The capital of France is Paris. Once upon a time\n\n"] * 5, 300)
    spec = ModelSpec("causal", tiny_model(len(words)))
    model = Pretrained(spec=spec, params={"params": random_params(spec.build())["params"]})
    save_model(model, place / "models" / "smol", words)
    return place


@pytest.mark.parametrize("page", WITH_PYTHON)
def test_python_blocks_run(page, workshop, monkeypatch):
    monkeypatch.chdir(workshop)
    if page == "README.md" or page.startswith("docs/start/"):
        # What a new user does not have.
        for name in ("pandas", "polars"):
            monkeypatch.setitem(sys.modules, name, None)
    namespace = {"__name__": "page"}
    for block in reader.python_blocks(PAGES[page].read_text()):
        exec(compile(block, page, "exec"), namespace)
    if "get_sweep" in namespace:
        assert all(hasattr(config, "system") for config in namespace["get_sweep"]().values())
    jax.clear_caches()


def test_the_collection_sees_blocks_and_commands():
    text = (
        "`jaxrec data list`\n\n"
        "```python\nx = 1\n```\n\n"
        "```bash\njaxrec train a \\\n    --b 1  # c\n"
        "tools/test\n```\n\n"
        "    python tools/bench decode --users 3\n\n"
        "The word jaxrec alone.\n"
    )
    assert reader.python_blocks(text) == ["x = 1\n"]
    assert reader.commands(text) == [
        ["jaxrec", "train", "a", "--b", "1"],
        ["tools/test"],
        ["python", "tools/bench", "decode", "--users", "3"],
        ["jaxrec", "data", "list"],
    ]


@pytest.mark.parametrize(
    ("page", "words"), COMMANDS_SHOWN, ids=[f"{p}: {' '.join(w)[:70]}" for p, w in COMMANDS_SHOWN]
)
def test_commands_parse(page, words, workshop, monkeypatch):
    monkeypatch.chdir(workshop)
    if words[0] == "jaxrec":
        check_jaxrec(words[1:], monkeypatch)
    elif words[:2] == ["python", "tools/bench"]:
        check_measurement(words[2:], monkeypatch)
    else:
        script = words[1] if words[0] == "python" else words[0]
        assert (reader.ROOT / script).is_file(), f"{page}: there is no {script}"


@pytest.mark.parametrize("words", RUN, ids=" ".join)
def test_cheap_commands_run(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(reader.ROOT / "configs")
    said = {"prompt_id": "7", "prompt": "Name a film.", "answers": ["Heat.", "What?"]}
    for labeler in ("ann", "bob"):
        ranks = {"kind": "ranking", "payload": {"ranks": [1, 2]}, "labeler": labeler, "time": 0.0}
        with open("feedback.jsonl", "a") as file:
            file.write(json.dumps(said | ranks) + "\n")
    try:
        code = main(list(words[1:]))
    except SystemExit as end:  # how `--help` ends
        code = end.code or 0
    assert code == 0, capsys.readouterr().err
    assert capsys.readouterr().out.strip()


def test_a_command_that_does_not_exist_or_an_option_that_does_not_is_noticed(workshop, monkeypatch):
    monkeypatch.chdir(workshop)
    for words in (["trian", "tiny.py"], ["train", "tiny.py", "--train.stepz", "1"]):
        with pytest.raises(AssertionError):
            check_jaxrec(words, monkeypatch)


def check_jaxrec(words, monkeypatch):
    """Run a command up to the point where all its options are parsed."""
    if not words or re.fullmatch("[A-Z]+", words[0]):
        return
    assert words[0] in COMMANDS or words[0].startswith("--"), f"no command {words[0]}"
    words = ["configs/quickstart.py" if word == "CONFIG" else word for word in words]
    alone = [*((name,) for name in COMMANDS if name not in ("list", "doctor")), ("scaling", "fit")]
    if tuple(words) in alone:
        words.append("--help")
    parse = tyro.cli

    def stop_after(*arguments, **options):
        result = parse(*arguments, **options)
        if options.get("return_unknown_args") and result[1]:
            return result
        raise Parsed

    with monkeypatch.context() as patched:
        patched.setattr(tyro, "cli", stop_after)
        try:
            assert main(words) == 0, f"{words} is rejected"
        except Parsed:
            pass
        except SystemExit as end:
            assert not end.code, f"{words} is rejected"


def check_measurement(words, monkeypatch):
    """Parse the options of `python tools/bench NAME`."""
    if not words or re.fullmatch("[A-Z]+", words[0]):
        return
    place = reader.ROOT / "tools" / "bench"
    with monkeypatch.context() as patched:
        patched.setattr(sys, "path", [str(place), *sys.path])
        spec = importlib.util.spec_from_file_location("bench_main", place / "__main__.py")
        bench = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(bench)
        name = words[0].replace("-", "_")
        assert name in bench.names(), f"no measurement {name}"
        bench.parse(importlib.import_module(f"measurements.{name}"), name, words[1:])
