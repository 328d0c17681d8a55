"""The page on adding a system, followed to the letter: files, training, table, pages."""

import importlib
import json
import re
import sys
import types

import numpy as np
import pytest
from jaxrec_docs import settings, systems

import jaxrec.systems
from jaxrec.cli.main import main
from jaxrec.testing import tiny_options, write_tiny_csv

PAGE = "docs/contributing/add_a_system.md"


@pytest.fixture
def toy(root, tmp_path, monkeypatch):
    """The files of the page, written where they belong below a directory of their own."""
    text = (root / PAGE).read_text()
    blocks = re.findall(r"^```python\n# (\S+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert [path for path, _ in blocks] == [
        "jaxrec/systems/bigram/__init__.py",
        "jaxrec/systems/bigram/run.py",
        "configs/bigram/ml100k.py",
    ]
    assert sum(len(body.splitlines()) for _, body in blocks) < 120
    for path, body in blocks:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(body)
    places = [*jaxrec.systems.__path__, str(tmp_path / "jaxrec" / "systems")]
    monkeypatch.setattr(jaxrec.systems, "__path__", places)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("jaxrec.systems.bigram")]:
        del sys.modules[name]


def test_the_toy_stands_in_the_table_and_in_the_documentation(toy, capsys):
    options = tiny_options(write_tiny_csv(toy))
    config = "configs/bigram/ml100k.py"
    assert main(["train", config, "--run-dir", "runs/a", *options]) == 0
    # A config of its own for the tiny data, since `compare` takes no settings.
    (toy / "configs" / "bigram" / "tiny.py").write_text(
        "from jaxrec.systems.bigram import BigramConfig\n"
        "from jaxrec.testing import tiny_config\n\n\n"
        "def get_config():\n"
        f"    return BigramConfig(data=tiny_config({str(toy / 'interactions.csv')!r}).data)\n"
    )
    capsys.readouterr()
    words = ["configs/bigram/tiny.py", "--baselines", "popularity", "--run-dir", "runs/compare"]
    assert main(["compare", *words]) == 0
    assert "tiny" in capsys.readouterr().out
    rows = json.loads((toy / "runs" / "compare" / "comparison.json").read_text())["rows"]
    popularity, name = rows
    assert popularity == "popularity" and name.endswith("tiny")
    # The tiny users walk along a ring, and every title has a word of its own.
    assert rows[name]["metrics"]["ndcg@10"] > rows["popularity"]["metrics"]["ndcg@10"] + 0.1

    # Its runs are measured beside any baselines, and ranked where no one did so before.
    run = "runs/compare/bigram-tiny-0"
    (toy / run / "test.npz").unlink()
    assert main(["compare", run, "--run-dir", "runs/again"]) == 0
    (again,) = json.loads((toy / "runs" / "again" / "comparison.json").read_text())["rows"].values()
    assert again["metrics"] == rows[name]["metrics"]
    assert main(["eval", run, "--baselines", "popularity", "markov"]) == 0
    table = json.loads((toy / run / "eval.json").read_text())["rows"]
    assert list(table) == ["model", "popularity", "markov"]
    for row, theirs in (("model", name), ("popularity", "popularity")):
        for metric, value in table[row]["metrics"].items():
            assert value == pytest.approx(rows[theirs]["metrics"][metric])

    page = systems.pages(toy / "configs")["systems/bigram.md"]
    assert "Count which words of titles follow which" in page
    assert "Bigram over titles on MovieLens-100K." in page
    assert "`smoothing` | `float` | `0.01`" in settings.pages()["settings/bigram.md"]


def test_its_counts_are_those_by_hand(toy):
    run = importlib.import_module("jaxrec.systems.bigram.run")

    histories = [np.array([0, 1]), np.array([0, 2])]
    split = types.SimpleNamespace(train=types.SimpleNamespace(sequences=lambda: histories))
    titles = np.array(["red", "blue", "blue sky"], dtype=object)
    items = types.SimpleNamespace(fields={"title": titles})
    data = types.SimpleNamespace(interactions=types.SimpleNamespace(items=items), split=split)
    scores = run.fit(run.BigramConfig(smoothing=1.0), data)
    # Words: blue, red, sky. After "red": blue 1 + 1/2, sky 1/2, each with 1 added.
    after_red = np.log(np.array([2.5, 1.0, 1.5]) / 5)
    np.testing.assert_allclose(scores[0, 1], after_red[0], atol=1e-5)
    np.testing.assert_allclose(scores[0, 2], (after_red[0] + after_red[2]) / 2, atol=1e-5)
    np.testing.assert_allclose(scores[0, 0], after_red[1], atol=1e-5)
