"""GLRec end to end on data whose likes follow a rule, and its selector beside NumPy."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.cli.main import main
from jaxrec.core import ConfigError
from jaxrec.data import (
    Instruction,
    encode_instructions,
    load_tokenizer,
    save_tokenizer,
    train_bpe,
)
from jaxrec.decode import answer_gaps, answer_tokens, differing_tokens
from jaxrec.models import CausalLM, TransformerConfig
from jaxrec.nn import SelfContext, attention_mask, positions_of
from jaxrec.runs import load_run, run_identity
from jaxrec.systems.glrec import encode_paths, run as glrec
from jaxrec.systems.glrec.measure import control_scores, order_spread
from jaxrec.systems.glrec.questions import make_writer
from jaxrec.systems.glrec.selector import path_scales, path_weights
from jaxrec.testing import random_params
from jaxrec.testing.peers import make_peer
from jaxrec.texts import click_prompts, load_click_run

CONFIG = """
from jaxrec.models import TransformerConfig
from jaxrec.systems.glrec import GlrecConfig, GlrecEvalConfig, PathsConfig
from jaxrec.texts import ClickDataConfig
from jaxrec.train import TrainConfig

def get_config():
    return GlrecConfig(
        data=ClickDataConfig(
            name="rule", from_file={path!r}, rating_column="stars", time_column="when", min_count=0
        ),
        history=4,
        shots=40,
        title_steps=1,
        train=TrainConfig(steps=2, batch_size=8, lr=1e-2, warmup_steps=1, eval_every=2),
        model=TransformerConfig(width=16, depth=1, num_heads=2),
        vocab_size=300,
        eval=GlrecEvalConfig(
            valid_windows=20, test_windows=20, order_windows=4, orders=3, resamples=4
        ),
    )
"""


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    """Half of the items are liked by all users, and the others by none."""
    directory = tmp_path_factory.mktemp("rule")
    rng = np.random.default_rng(0)
    rows = ["user,item,stars,when"]
    for user in range(40):
        for place, item in enumerate(rng.permutation(12)[:10].tolist()):
            rows.append(f"u{user},i{item},{5 if item % 2 else 1},{place}")
    data = directory / "ratings.csv"
    data.write_text("\n".join(rows) + "\n")
    file = directory / "rule.py"
    file.write_text(CONFIG.format(path=str(data)))
    return file


@pytest.fixture(scope="module")
def finished(config_file):
    directory = config_file.parent / "run"
    assert main(["train", str(config_file), "--run-dir", str(directory)]) == 0
    assert main(["eval", str(directory)]) == 0
    return directory


@pytest.fixture(scope="module")
def writer(finished):
    config = load_run(finished)
    return make_writer(config, load_click_run(config))


def test_a_run_is_measured_beside_its_controls_and_over_orders(finished):
    report = json.loads((finished / "eval.json").read_text())
    rows = report["rows"]
    controls = {"untuned", "liked titles", "item mean", "likes in the graph", "likes in the paths"}
    assert next(iter(rows)) == "model" and controls <= set(rows)
    # All users agree about an item, so what the graph and the paths say is right.
    for name in ("item mean", "likes in the graph", "likes in the paths"):
        assert rows[name]["metrics"]["auc"] == 1.0
    metrics = rows["model"]["metrics"]
    assert metrics["order_std"] >= 0
    for name, values in report["values"].items():
        assert np.mean(values) == pytest.approx(metrics[name])
    assert (finished / "titles" / "checkpoints").is_dir()


def test_a_prompt_has_the_paths_of_its_question_and_without_them_it_is_that_of_tallrec(writer):
    parts = writer.parts
    questions = writer.questions(parts.test, 0)
    plain = click_prompts(parts.test, parts.titles)
    bare = writer.records(dataclasses.replace(questions, paths=[()] * len(questions)))
    assert bare == plain
    for record, texts, whole in zip(
        writer.records(questions), writer.texts(questions), plain, strict=True
    ):
        line = f"Paths: {' '.join(texts)}\n"
        assert len(texts) == 3 and line in record.input
        assert record.input.replace(line, "") == whole.input
        assert (record.output, record.instruction) == (whole.output, whole.instruction)
    cold = writer.records(questions.without_context())
    assert all("User Preference: \nUser Unpreference: \nWhether" in record.input for record in cold)
    assert [record.output for record in cold] == [record.output for record in plain]


def test_tokens_of_a_path_are_those_of_its_text(writer):
    questions = writer.questions(writer.parts.test, 0)
    records, texts = writer.records(questions), writer.texts(questions)
    tokenizer = train_bpe([record.prompt for record in records], 300)
    tokenizer.add_tokens([*writer.users, *writer.phrases])
    rows = encode_paths(tokenizer, records, texts, 512)
    same = encode_instructions(tokenizer, records, 512)
    for name in ("tokens", "valid", "weights", "answer"):
        np.testing.assert_array_equal(getattr(rows, name), getattr(same, name))
    for row, paths in enumerate(texts):
        found = [tokenizer.decode(rows.tokens[row][rows.paths[row] == n]) for n in (1, 2, 3)]
        assert [text.strip() for text in found] == paths
    assert rows.take(np.array([1]))["paths"].shape == (1, rows.tokens.shape[1])
    with pytest.raises(ConfigError, match=r"20 of 20 questions have more than 40 tokens"):
        encode_paths(tokenizer, records, texts, 40)


def selector_variables(rng, width=8, vocab=30):
    return {
        "params": {"embedding": {"table": jnp.asarray(rng.normal(size=(vocab, width)))}},
        "selector": {"vector": jnp.asarray(rng.normal(size=width).astype(np.float32))},
    }


def test_the_selector_is_a_softmax_over_the_mean_embeddings_of_the_paths():
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda x: x.astype(jnp.float32), selector_variables(rng))
    table = np.array(variables["params"]["embedding"]["table"])
    vector = np.array(variables["selector"]["vector"])
    tokens = rng.integers(30, size=(3, 9)).astype(np.int32)
    paths = np.array([[0, 1, 1, 2, 2, 2, 3, 0, 0], [0, 1, 2, 2, 0, 0, 0, 0, 0], [0] * 9], np.int32)
    batch = {"tokens": tokens, "paths": paths}
    weights = np.array(path_weights(variables, batch, 3))
    scales = np.array(path_scales(variables, batch, count=3, strength=0.1))
    for row in range(3):
        present = [n for n in (1, 2, 3) if (paths[row] == n).any()]
        logits = np.array([vector @ table[tokens[row][paths[row] == n]].mean(0) for n in present])
        alpha = np.exp(logits) / np.exp(logits).sum() if present else np.zeros(0)
        wanted = np.zeros(4)
        wanted[present] = alpha
        np.testing.assert_allclose(weights[row], wanted[1:], atol=1e-5)
        np.testing.assert_allclose(scales[row], 1 + 0.1 * wanted[paths[row]], atol=1e-6)
    assert (scales[2] == 1).all()


def test_scaled_embeddings_are_those_of_a_model_with_that_scale():
    config = TransformerConfig(vocab_size=20, width=16, depth=1, num_heads=2)
    model = CausalLM(config)
    params = random_params(model)
    tokens = jnp.asarray(np.random.default_rng(0).integers(20, size=(2, 7)), jnp.int32)
    context = SelfContext(attention_mask(tokens >= 0), causal=True)
    positions = positions_of(tokens >= 0)

    def hidden(module, scale):
        scales = jnp.full(tokens.shape, scale)
        args = (params, tokens, positions, context)
        return module.apply(*args, scales=scales, method="hidden")[0]

    scaled = CausalLM(dataclasses.replace(config, embedding_scale=1.7 * config.embedding_scale))
    wanted = hidden(scaled, 1.0)
    run = jax.jit(functools.partial(hidden, model))
    np.testing.assert_allclose(run(1.7), wanted, atol=1e-5)
    assert np.abs(np.array(run(1.0) - wanted)).max() > 1e-3


def test_answers_that_begin_alike_are_compared_where_they_differ():
    records = [Instruction("Choose.", "a or b?", answer) for answer in ("[A].", "[B].")]
    tokenizer = train_bpe(["x"], 260)
    rows = encode_instructions(tokenizer, records, 400)
    shared, tokens = differing_tokens(tokenizer, "[A].", "[B].")
    assert (shared, tokenizer.decode(list(tokens))) == (1, "AB")
    with pytest.raises(ConfigError, match=r"begins '.A..' and '.B..' with the same token"):
        answer_tokens(tokenizer, "[A].", "[B].")
    model = CausalLM(TransformerConfig(vocab_size=len(tokenizer), width=16, max_length=400))
    params = random_params(model)
    gaps = answer_gaps(model, params, rows, tokens, shared=shared, batch_size=2)
    # The answers themselves are not read.
    assert gaps[0] == gaps[1]
    prompt = jnp.asarray([tokenizer(records[0].prompt + "[")["input_ids"]], jnp.int32)
    logits = jax.jit(model.apply)(params, prompt, prompt >= 0)[0, -1]
    np.testing.assert_allclose(gaps[0], logits[tokens[0]] - logits[tokens[1]], atol=1e-5)


def test_pairs_ask_about_a_liked_and_another_item_of_one_user(finished):
    config = dataclasses.replace(load_run(finished), form="pair", say_item=True)
    parts = load_click_run(config)
    pair = make_writer(config, parts)
    questions = pair.questions(parts.test, 0)
    opinions = {
        (u, i): r > 3
        for u, i, r in zip(parts.data.user, parts.data.item, parts.data.rating, strict=True)
    }
    assert 0 < questions.label.mean() < 1
    records = pair.records(questions, answered=True)
    for row, record in enumerate(records):
        user, first = int(questions.user[row]), int(questions.windows.target[row])
        other = int(questions.other[row])
        assert opinions[user, first] != opinions[user, other]
        assert opinions[user, first] == questions.label[row]
        better = parts.names[first if questions.label[row] else other]
        assert record.output == f"{'[A].' if questions.label[row] else '[B].'} {better}"
        assert f"[A] {parts.names[first]}\n[B] {parts.names[other]}\n" in record.input
        assert better not in record.input.split("Paths:")[0]
        asked = {(user, first), (user, other)}
        assert not asked & {edge for path in questions.paths[row] for edge in path.edges()}
    scores = control_scores(parts.train, questions, pair.finder.graph, 1)
    for name in ("item mean", "likes in the graph", "likes in the paths"):
        assert ((scores[name] > 0) == questions.label).all()


def test_the_spread_over_orders_is_that_of_all_permutations(writer):
    questions = writer.questions(writer.parts.test, 0).take(np.arange(4))

    def gaps(asked):
        # Only the user at the front of the first path counts.
        return np.array([paths[0].nodes[0] for paths in asked.paths], np.float64) / 10

    spread = order_spread(questions, gaps, 6)
    for row, paths in enumerate(questions.paths):
        likely = [1 / (1 + np.exp(-path.nodes[0] / 10)) for path in paths for _ in range(2)]
        assert spread[row] == pytest.approx(np.std(likely))
    steady = order_spread(questions, lambda asked: np.ones(len(asked)), 6)
    assert (steady == 0).all()
    single = dataclasses.replace(questions, paths=[paths[:1] for paths in questions.paths])
    assert np.isnan(order_spread(single, gaps, 6)).all()


def test_planted_paths_tell_the_answer_in_one_place_that_moves_with_the_order(finished):
    old = load_run(finished)
    config = dataclasses.replace(old, paths=dataclasses.replace(old.paths, planted=True))
    planted = make_writer(config, load_click_run(config))
    questions = planted.questions(planted.parts.train, 0)
    moved = questions.reordered(np.random.default_rng(0))
    tellers, others = set(), set()
    for asked in (questions, moved):
        for paths, place, label in zip(asked.paths, asked.telling, asked.label, strict=True):
            assert paths[place].kinds == (int(label),)
            tellers.add(paths[place].nodes[0])
            others |= {path.nodes[0] for at, path in enumerate(paths) if at != place}
    assert not tellers & others
    assert len(set(questions.telling.tolist())) == 3
    assert (moved.telling != questions.telling).any()


def test_a_selector_is_not_exported_and_other_orders_are(finished, tmp_path, capsys):
    assert main(["export", str(finished), "--out", str(tmp_path / "hf")]) == 2
    assert "order hybrid has a path selector" in capsys.readouterr().err
    assert main(["recommend", str(finished), "--user", "u1", "--top", "2"]) == 0
    assert "with the probability that the user likes it" in capsys.readouterr().out


@pytest.mark.slow
def test_the_answers_follow_the_rule_after_training(config_file, tmp_path):
    longer = ["--train.steps", "200", "--train.batch-size", "32", "--shots", "0"]
    longer += ["--train.eval-every", "100"]
    for form in ("point", "pair"):
        run = tmp_path / form
        words = ["--run-dir", str(run), "--form", form]
        assert main(["train", str(config_file), *words, *longer]) == 0
        assert main(["eval", str(run)]) == 0
        rows = json.loads((run / "eval.json").read_text())["rows"]
        assert rows["model"]["metrics"]["auc"] > 0.95
        assert rows["untuned"]["metrics"]["auc"] < 0.8


def write_files(directory, writer, users=True):
    """The questions of a run as files of records; `users` False leaves one record of each user."""
    words = []
    for part in ("train", "valid", "test"):
        windows = getattr(writer.parts, part)
        if not users:
            windows = windows.take(np.unique(windows.user, return_index=True)[1])
        records = click_prompts(windows, writer.parts.titles)
        path = directory / f"{part}.json"
        path.write_text(json.dumps([vars(record) for record in records]))
        words += [f"--data.{part}-file", str(path)]
    return [*words, "--data.from-file", "", "--data.rating-column", "", "--data.time-column", ""]


@pytest.mark.slow
@pytest.mark.parametrize("users", [True, False])
@pytest.mark.parametrize("system", ["glrec", "tallrec"])
def test_files_of_questions_train_and_are_measured(
    system, users, config_file, writer, tmp_path, capsys
):
    words = [*write_files(tmp_path, writer, users), "--shots", "0"]
    file = config_file
    if system == "tallrec":
        text = file.read_text().replace("glrec", "tallrec").replace("GlrecConfig", "TallrecConfig")
        text = text.replace("GlrecEvalConfig", "ClickEvalConfig").replace(", PathsConfig", "")
        file = tmp_path / "tallrec.py"
        file.write_text(text.replace("order_windows=4, orders=3, ", ""))
    run = tmp_path / "run"
    assert main(["train", str(file), "--run-dir", str(run), *words]) == 0
    assert main(["eval", str(run), "--no-baselines"]) == 0
    report = json.loads((run / "eval.json").read_text())
    assert ("within_user_auc" in report["rows"]["model"]["metrics"]) == users
    assert report["protocol"]["dataset"] == "train.json"
    # Titles are tokens of their own.
    tokenizer = load_tokenizer(run / "tokenizer")
    assert len(tokenizer('"i3"', add_special_tokens=False)["input_ids"]) == 1
    for words in (["--user", "1"], []):
        assert main(["recommend", str(run), *words]) == 2
        assert "trained on files of questions" in capsys.readouterr().err
    # A file that has changed since is another data set.
    valid = tmp_path / "valid.json"
    valid.write_text(valid.read_text().replace('"output": "Yes."', '"output": "No."', 1))
    assert main(["eval", str(run)]) == 3
    assert "was trained on other data" in capsys.readouterr().err


def test_a_wrong_file_is_refused_before_any_work(config_file, writer, tmp_path, capsys):
    words = write_files(tmp_path, writer)
    path = tmp_path / "valid.json"
    records = json.loads(path.read_text())
    records[1]["output"] = "Maybe"
    path.write_text("\n".join(json.dumps(record) for record in records))
    run = tmp_path / "run"
    assert main(["train", str(config_file), "--run-dir", str(run), *words]) == 3
    error = capsys.readouterr().err
    assert "valid.json, line 2: record 1 has the output 'Maybe'" in error
    assert not run.exists()


@pytest.mark.slow
def test_lora_trains_the_selector_beside_its_updates(config_file, tmp_path):
    pytest.importorskip("transformers")
    base, run = tmp_path / "base", tmp_path / "run"
    tokenizer = train_bpe(["Will the user enjoy the movie? Yes. No."] * 5, 300)
    model = make_peer("llama", base)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.save_pretrained(base)
    save_tokenizer(tokenizer, base)
    lora = ["--tune.method", "lora", "--tune.base", str(base), "--tune.rank", "2"]
    lora += ["--tune.targets", "query", "value", "--max-length", "1500", "--train.lr", "0.05"]
    assert main(["train", str(config_file), "--run-dir", str(run), *lora]) == 0
    assert main(["eval", str(run)]) == 0
    config = load_run(run)
    text = glrec._load(config, run)
    trained = text.trained(run, config.train, run_identity(run))
    assert set(trained) == {"tuned", "selector"}
    assert np.abs(np.array(trained["selector"]["vector"])).max() > 0
    assert main(["export", str(run), "--to", "peft", "--out", str(tmp_path / "peft")]) == 2
