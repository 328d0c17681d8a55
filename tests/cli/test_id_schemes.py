"""Every ID scheme through the commands: IDs, training, evaluation, recommendation, export."""

import json

import numpy as np
import pytest

from jaxrec.cli.main import main
from jaxrec.ids import IdVocabulary, opened
from jaxrec.runs.directory import load_codes
from jaxrec.testing import write_tiny_csv

CONFIG = """
import dataclasses
from jaxrec.testing import tiny_config

def get_config():
    config = tiny_config({path!r})
    return dataclasses.replace(
        config,
        max_items=4,
        model=dataclasses.replace(config.model, activation="relu", gated=False),
        train=dataclasses.replace(config.train, steps=2, eval_every=2, log_every=2),
        eval=dataclasses.replace(config.eval, baselines=()),
    )
"""
TREE = ["--ids.clusters", "3", "--ids.leaf", "4"]
SCHEMES = {
    "pq": ["--ids.rotate", "opq"],
    "rq": [],
    "rqvae": ["--ids.rqvae.steps", "3", "--ids.rqvae.warmup", "0"],
    "svd": [],
    "collaborative": TREE,
    "semantic": [],
    "textual": ["--ids.title-field", "genres", "--ids.repair", "suffix"],
    "sequential": [],
    "random": [],
    "independent": [],
    "hybrid": ["--ids.hybrid", "semid+cid", *TREE],
    "external": ["--ids.repair", "suffix"],
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A directory with the config, and IDs made elsewhere."""
    directory = tmp_path_factory.mktemp("schemes")
    file = write_tiny_csv(directory)
    (directory / "tiny.py").write_text(CONFIG.format(path=str(file)))
    rows = ["item,0,1", *(f"i{n:03d},{n % 5},{n % 3 or ''}" for n in range(30))]
    (directory / "ids.csv").write_text("\n".join(rows) + "\n")
    return directory


def arguments(home, scheme, run):
    words = [str(home / "tiny.py"), "--run-dir", str(run), "--ids.scheme", scheme]
    return [*words, *(["--ids.file", str(home / "ids.csv")] if scheme == "external" else [])]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.variants(6)
def test_ids_of_every_scheme_are_fitted_shown_and_saved(home, scheme, tmp_path, capsys):
    assert main(["ids", *arguments(home, scheme, tmp_path), *SCHEMES[scheme]]) == 0
    text = capsys.readouterr().out
    assert f"{scheme}: 30 items" in text and "all 30 are distinct" in text
    assert (tmp_path / "ids" / "code_use.png").read_bytes().startswith(b"\x89PNG")
    codes = load_codes(tmp_path)
    assert codes.codes.min() >= 0 and len(np.unique(codes.codes, axis=0)) == 30
    rows = json.loads((tmp_path / "ids" / "item_ids.json").read_text())
    assert [row["item"] for row in rows] == [f"i{n:03d}" for n in range(30)]
    assert len({row["id"] for row in rows}) == 30


# What comes after the IDs sees their shape alone, and most of the time is compilation.
@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_main_job_works_with_every_scheme(home, scheme, tmp_path, capsys):
    transformers = pytest.importorskip("transformers")
    run, out = tmp_path / "run", tmp_path / "hf"
    words = [*arguments(home, scheme, run), *SCHEMES[scheme]]
    assert main(["train", *words]) == 0
    assert main(["eval", str(run)]) == 0
    assert json.loads((run / "result.json").read_text())["invalid_items"] == 0
    capsys.readouterr()
    assert main(["recommend", str(run), "--user", "u003", "--top", "5"]) == 0
    _, found = capsys.readouterr().out.split("top 5")
    assert sum(". Film" in line for line in found.splitlines()) == 5
    assert main(["report", str(run)]) == 0
    assert scheme in (run / "report.html").read_text()
    assert main(["export", str(run), "--out", str(out)]) == 0
    codes = load_codes(run)
    assert scheme != "collaborative" or set(opened(codes).lengths.tolist()) == {3, 4}
    items = json.loads((out / "item_ids.json").read_text())
    assert items == json.loads((run / "ids" / "item_ids.json").read_text())
    # The exported tokenizer reads an item's ID as the model's tokens, and writes it back.
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    found = [tokenizer(row["id"], add_special_tokens=False)["input_ids"] for row in items]
    np.testing.assert_array_equal(found, IdVocabulary(sizes=codes.sizes).tokens(codes.codes))
    item_of = {row["id"]: row["item"] for row in items}
    assert [item_of[tokenizer.decode(row)] for row in found] == [f"i{n:03d}" for n in range(30)]
    # And the file is one that IDs are read from.
    file = ["--ids.file", str(out / "item_ids.json"), "--ids.repair", "refuse"]
    again = tmp_path / "again"
    assert main(["ids", *arguments(home, "external", again), *file]) == 0
    np.testing.assert_array_equal(load_codes(again).codes, codes.codes)


def test_ids_are_shown_before_and_after_repair(home, tmp_path, capsys):
    words = [*arguments(home, "svd", tmp_path), "--ids.size", "6", "--ids.repair", "suffix"]
    assert main(["ids", *words]) == 0
    text = capsys.readouterr().out
    assert "before repair" in text and "after repair (suffix)" in text
    facts = load_codes(tmp_path).metadata
    for statistics in (facts["repair"]["before"], facts):
        for value in statistics["entropy"]:
            assert f"{value:.2f}" in text
        for value in statistics["prefix_collision_share"]:
            assert f"{value:.1%}" in text


def test_a_collapsed_codebook_is_a_warning_on_the_console(home, tmp_path, capsys):
    # One text for all items, and nothing but texts: a single code.
    words = arguments(home, "rq", tmp_path)
    table = home / "same.csv"
    table.write_text("movie_id,title\n" + "".join(f"i{n:03d},Same\n" for n in range(30)))
    words += ["--data.item-table", str(table), "--ids.text-weight", "1", "--ids.size", "20"]
    assert main(["ids", *words]) == 0
    line = "warning: codebook collapse: levels [0, 1] use only 5.0%, 5.0% of their codes"
    assert line in capsys.readouterr().out
    assert load_codes(tmp_path).metadata["warning"].startswith("codebook collapse")


@pytest.mark.parametrize(
    ("scheme", "options", "code", "words"),
    [
        ("external", ["--ids.file", "absent.json"], 3, ["absent.json"]),
        ("external", ["--ids.repair", "refuse"], 3, ["share their ID", "suffix"]),
        ("semantic", ["--ids.category-field", "genre"], 2, ["ids.category_field", "'genres'"]),
        ("textual", [], 2, ["ids.repair", "'suffix'"]),
        ("rqvae", ["--ids.rqvae.latent", "0"], 2, ["latent", "got 0"]),
        ("colaborative", [], 2, ["colaborative", "collaborative"]),
    ],
)
def test_a_bad_scheme_is_named_before_anything_is_written(
    home, tmp_path, capsys, scheme, options, code, words
):
    run = tmp_path / "run"
    assert main(["train", *arguments(home, scheme, run), *options]) == code
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert all(word in last for word in words), last
    assert not run.exists()
