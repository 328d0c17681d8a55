"""Soft and hard prompts in TALLRec's questions, over a base from scratch."""

import dataclasses
import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.cli.main import main
from jaxrec.core import ConfigError
from jaxrec.data import Instruction, encode_instructions
from jaxrec.decode import answer_gaps, answer_tokens
from jaxrec.nn import TUNED
from jaxrec.peft import TuneConfig, prompt
from jaxrec.runs import Options, open_any
from jaxrec.runs.directory import load_run
from jaxrec.systems.tallrec import SearchConfig, TallrecConfig, run as tallrec
from jaxrec.systems.tallrec.prompt_search import (
    WORDINGS,
    _allowed,
    _places,
    _replace_tokens,
    describe_search,
    read_instruction,
    reworded,
    search_prompt,
)
from jaxrec.texts import click_prompts, load_click_run, tuned as tuned_text

CONFIG = """
from jaxrec.data import DataConfig
from jaxrec.models import TransformerConfig
from jaxrec.systems.tallrec import ClickEvalConfig, TallrecConfig
from jaxrec.train import TrainConfig

def get_config():
    return TallrecConfig(
        data=DataConfig(
            name="rule", from_file={path!r}, rating_column="stars", time_column="when", min_count=0
        ),
        split="users",
        history=2,
        shots=40,
        on_prompt=False,
        train=TrainConfig(steps=2, batch_size=8, lr=1e-2, warmup_steps=1, eval_every=2),
        model=TransformerConfig(width=16, depth=1, num_heads=2),
        vocab_size=270,
        eval=ClickEvalConfig(baselines=(), valid_windows=20, test_windows=20, resamples=20),
    )
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Config file of a small run on data of which half of the items are liked, and the run."""
    directory = tmp_path_factory.mktemp("prompts")
    rng = np.random.default_rng(0)
    rows = ["user,item,stars,when"]
    for user in range(20):
        for place, item in enumerate(rng.permutation(8)[:7].tolist()):
            rows.append(f"u{user},i{item},{5 if item % 2 else 1},{place}")
    (directory / "ratings.csv").write_text("\n".join(rows) + "\n")
    file = directory / "rule.py"
    file.write_text(CONFIG.format(path=str(directory / "ratings.csv")))
    assert main(["train", str(file), "--run-dir", str(directory / "base")]) == 0
    return types.SimpleNamespace(file=str(file), run=directory / "base", place=directory)


def _run(base, name, *options):
    directory = base.place / name
    words = ["--run-dir", str(directory), "--tune.base", str(base.run), *options]
    assert main(["train", base.file, *words]) == 0
    assert main(["eval", str(directory)]) == 0
    return directory, json.loads((directory / "eval.json").read_text())["rows"]


def _text(base, **settings):
    return tuned_text.from_base(TuneConfig(base=str(base.run), **settings), 0)


def test_a_prompt_of_embeddings_answers_as_its_words_do(base):
    """Rows behind virtual tokens against rows behind the words themselves, in the base."""
    records = [Instruction("Guess.", f'"i{n}"', "Yes.") for n in range(5)]
    words = "Say it: "
    text = _text(base, method="prompt", virtual_tokens=3, prompt_init="random")
    rows = encode_instructions(text.tokenizer, records, 400)
    front = text.tokenizer(words, add_special_tokens=False)["input_ids"]
    base_params = text.untuned()
    vectors = prompt.vectors(
        jax.random.key(0), text.spec, base_params, len(front), jnp.asarray(front), random=False
    )
    virtual = rows.with_virtual(text.spec.config.vocab_size, len(front))
    real = dataclasses.replace(virtual, tokens=virtual.tokens.copy())
    real.tokens[:, : len(front)] = front
    answers = answer_tokens(text.tokenizer, "Yes.", "No.")
    tuned = {**base_params, TUNED: {"embedding": {"prompt": vectors}}}
    found = answer_gaps(text.model, tuned, virtual, answers, batch_size=5)
    expected = answer_gaps(text.model, base_params, real, answers, batch_size=5)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    bare = answer_gaps(text.model, base_params, rows, answers, batch_size=5)
    assert np.abs(expected - bare).max() > 1e-4
    assert virtual.weights[:, len(front) :].sum() == virtual.weights.sum() == rows.weights.sum()


P_TUNING = ("--tune.method", "prompt", "--tune.prompt-encoder", "lstm", "--tune.prompt-init")


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (("--tune.method", "prompt", "--tune.prompt-init", "vocabulary"), 3 * 16),
        pytest.param((*P_TUNING, "random"), 3 * 16, marks=pytest.mark.slow),
        pytest.param(("--tune.method", "prefix"), 3 * 1 * 2 * 16, marks=pytest.mark.slow),
        pytest.param(("--tune.method", "full"), None, marks=pytest.mark.slow),
    ],
)
def test_soft_prompts_train_and_the_base_is_the_untuned_model(base, options, kept):
    name = "-".join(options).replace("--", "")
    directory, rows = _run(base, name, "--tune.virtual-tokens", "3", *options)
    text = _text(base)
    total = sum(leaf.size for leaf in jax.tree.leaves(text.untuned()))
    percent = rows["model"]["metrics"]["tuned_percent"]
    assert percent == pytest.approx(100 * (kept or total) / total)
    # The row of the untuned model is that of the base, without any virtual token.
    config = load_run(directory)
    windows = load_click_run(config)
    prompts = click_prompts(windows.test, windows.titles)
    plain = encode_instructions(text.tokenizer, prompts, config.max_length)
    answers = answer_tokens(text.tokenizer, "Yes.", "No.")
    gaps = answer_gaps(text.model, text.untuned(), plain, answers)
    table = tallrec.click_table.table({"untuned": gaps}, windows.test, 20)["rows"]["untuned"]
    found = rows["untuned"]["metrics"]
    assert found == pytest.approx(table["metrics"])
    if kept:
        _, trained, tune = tallrec.open_adapter(config, directory)
        leaves = jax.tree.leaves(trained[TUNED])
        assert sum(leaf.size for leaf in leaves) == kept
        assert tune.method in options


def test_a_given_text_is_measured_without_training(base):
    search = ("--search.method", "given", "--search.texts", "Guess.", "Will it please?")
    directory, rows = _run(base, "given", *search)
    found = json.loads((directory / "prompt.json").read_text())
    assert set(found["finalists"]) == {"Guess.", "Will it please?"}
    assert found["finalists"][found["instruction"]] == max(found["finalists"].values())
    assert found["valid"]["mean_auc"] == max(found["finalists"].values())
    assert rows["model"]["metrics"]["tuned_percent"] == 0
    assert not (directory / "checkpoints").exists()
    # The same figure by hand, of the base with these words.
    config, text = load_run(directory), _text(base)
    windows = load_click_run(config)
    prompts = reworded(click_prompts(windows.test, windows.titles), found["instruction"])
    assert prompts[0].instruction == found["instruction"]
    plain = encode_instructions(text.tokenizer, prompts, config.max_length)
    answers = answer_tokens(text.tokenizer, "Yes.", "No.")
    gaps = answer_gaps(text.model, text.untuned(), plain, answers)
    table = tallrec.click_table.table({"model": gaps}, windows.test, 20)["rows"]["model"]["metrics"]
    metrics = {k: v for k, v in rows["model"]["metrics"].items() if k != "tuned_percent"}
    assert metrics == pytest.approx(table)
    with pytest.raises(ConfigError, match=r"changed no parameter.*prompt\.json"):
        tallrec.open_adapter(config, directory)
    opened = open_any(directory)
    base_params = jax.tree.leaves(text.untuned())
    assert all(map(np.array_equal, jax.tree.leaves(opened.model.params), base_params))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["wordings", "tokens"])
def test_a_search_ends_with_a_text_and_is_not_done_again(base, method, capsys):
    small = {"steps": 3, "candidates": 2, "batch-size": 4, "begin": 2, "rounds": 1, "keep": 1}
    options = [word for name, n in small.items() for word in (f"--search.{name}", str(n))]
    options += ["--search.method", method, "--search.windows", "20", "--search.finalists", "2"]
    directory, _ = _run(base, method, *options)
    instruction = read_instruction(directory)
    assert instruction.isprintable()
    before = (directory / "prompt.json").read_text()
    words = ["--run-dir", str(directory), "--tune.base", str(base.run), *options]
    assert main(["train", base.file, *words]) == 0
    assert "has its instruction already" in capsys.readouterr().out
    assert (directory / "prompt.json").read_text() == before


def _search(directory, method, texts, **settings):
    """A search whose training data like long texts, and whose validation likes short ones."""
    train = [Instruction("published", "x", "Yes.")]
    search_prompt(
        SearchConfig(method=method, texts=texts, **settings),
        None,
        train,
        lambda text: float(len(text)),
        lambda text: {"auc": -float(len(text))},
        "auc",
        directory,
        max_length=100,
        seed=0,
    )
    return json.loads((directory / "prompt.json").read_text())


def test_training_data_rank_and_validation_chooses(tmp_path):
    assert _search(tmp_path / "a", "given", ())["instruction"] == "published"
    found = _search(tmp_path / "b", "given", ("one", "two words"))
    assert (found["instruction"], found["tried"]) == ("one", 2)
    # What is there is not searched for again.
    assert _search(tmp_path / "b", "given", ("x",)) == found
    found = _search(tmp_path / "c", "wordings", ("a", "b" * 300), begin=8, finalists=3)
    assert len(found["finalists"]) == 3
    assert "b" * 300 in found["finalists"]
    assert "a" not in found["finalists"]
    assert found["instruction"] == min(found["finalists"], key=len)
    assert found["valid"] == {"auc": -float(len(found["instruction"]))}
    most = SearchConfig(method="wordings", texts=("a", "b"), begin=8)
    assert 8 < found["tried"] <= 2 + 8 + most.rounds * most.keep * most.variants
    assert f"at most {2 + 8 + 3 * 4 * 4} instructions on 7" in describe_search(most, 7, 9)
    assert json.loads((tmp_path / "c" / "train.json").read_text())["trained_parameters"] == 0


def test_the_grammar_asks_about_a_user_and_an_item_without_holes():
    rng = np.random.default_rng(0)
    texts = {WORDINGS.text(WORDINGS.draw(rng)) for _ in range(300)}
    assert len(texts) > 250
    for text in texts:
        assert "{" not in text and "  " not in text and text[-1] in ".?"
        assert any(who in text for who in ("user", "person", "viewer"))
        assert any(what in text for what in ("film", "movie", "target"))


def test_replaced_tokens_stand_in_the_text_as_they_were_searched(base):
    """Every prompt that is kept is cut into as many tokens as before, none of them added ones."""
    text = _text(base)
    start = "Will the user like it"
    records = [Instruction("x", f'"i{n}"', "Yes." if n % 2 else "No.") for n in range(8)]
    config = SearchConfig(method="tokens", steps=12, candidates=3, batch_size=8)
    kept = _replace_tokens(config, text, records, start, 400, 0)
    assert kept[0] == start and len(kept) > 1
    allowed = _allowed(text.tokenizer, text.spec.config.vocab_size)
    sizes = set()
    for words in kept:
        record = dataclasses.replace(records[0], instruction=words)
        before = record.prompt.partition(words)[0]
        first, tokens = _places(text.tokenizer, before, words, record.prompt)
        assert text.tokenizer.decode(tokens) == words
        assert allowed[tokens].all()
        sizes.add((first, len(tokens)))
    assert len(sizes) == 1
    with pytest.raises(ConfigError, match="lose their instruction"):
        _replace_tokens(config, text, records, start, 60, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"search": {"method": "given"}}, "search.method given looks for .* give one as tune.base"),
        (
            {"search": {"method": "given"}, "base": "b", "method": "lora", "parts": 2},
            "trains no parameters .*tune.method, parts would have no effect",
        ),
    ],
)
def test_a_search_has_a_base_and_no_training(settings, message):
    settings = dict(settings)
    search = SearchConfig(**settings.pop("search"))
    tune = TuneConfig(base=settings.pop("base", ""), method=settings.pop("method", "full"))
    with pytest.raises(ConfigError, match=message):
        TallrecConfig(search=search, tune=tune, **settings)


def test_settings_of_a_search_that_nothing_reads_are_refused():
    with pytest.raises(ConfigError, match=r"search.method must be .*'token'.*tokens"):
        SearchConfig(method="token")
    with pytest.raises(ConfigError, match=r"search.texts has no effect without a search"):
        SearchConfig(texts=("a",))
    with pytest.raises(ConfigError, match=r"search.texts must be a tuple of non-empty texts"):
        SearchConfig(method="given", texts=("a", " "))
    with pytest.raises(ConfigError, match=r"--search.finalists must be at least 1"):
        SearchConfig(finalists=0)


def test_a_dry_search_says_its_cost_and_writes_nothing(base, capsys):
    config = load_run(base.run)
    search = SearchConfig(method="tokens", steps=5, candidates=3, windows=10)
    config = dataclasses.replace(config, tune=TuneConfig(base=str(base.run)), search=search)
    tallrec.train(config, base.place / "dry", Options(dry=True))
    out = capsys.readouterr().out
    assert "at most 21 instructions on 10 training windows, 6 on 10 for validation" in out
    assert not (base.place / "dry").exists()
