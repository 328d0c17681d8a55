"""DPO on text as a system: the loss at the start, log-probabilities, resuming, and bad input."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from jaxrec.align import Feedback, answer_log_probs, append_feedback
from jaxrec.cli.main import main
from jaxrec.core import ConfigError, DataError
from jaxrec.data import train_bpe
from jaxrec.models import ModelSpec, Pretrained, open_model, save_model
from jaxrec.peft import TuneConfig
from jaxrec.runs import Options, load_run
from jaxrec.systems.dpo import DpoConfig, DpoEvalConfig, PreferenceConfig, run as dpo_run
from jaxrec.systems.dpo.data import encode_parts, examples_of, load_preferences
from jaxrec.systems.dpo.measure import implicit_values, likelihood_values
from jaxrec.systems.dpo.run import evaluate, train
from jaxrec.testing import random_params, tiny_model
from jaxrec.train import TrainConfig, read_metrics


def records(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def pair(n, chosen="yes", rejected="no"):
    return {"prompt": f"Is {n} a number? ", "chosen": chosen, "rejected": rejected}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    directory = tmp_path_factory.mktemp("dpo")
    tokenizer = train_bpe(["a"], 260)
    spec = ModelSpec("causal", tiny_model(len(tokenizer)))
    save_model(
        Pretrained(spec=spec, params=random_params(spec.build())), directory / "base", tokenizer
    )
    records(directory / "pairs.jsonl", *(pair(n) for n in range(60)))
    several = (pair(n, rejected=["no", "never", "perhaps"]) for n in range(60))
    records(directory / "several.jsonl", *several)
    return directory


def tiny(place, file="pairs.jsonl", **changed):
    settings = {
        "data": PreferenceConfig(name="mine", records=(str(place / file),), valid=0.2, test=0.2),
        "max_length": 48,
        "tune": TuneConfig(base=str(place / "base")),
        "train": TrainConfig(
            steps=6, batch_size=8, lr=3e-3, warmup_steps=0, eval_every=2, log_every=1
        ),
        "eval": DpoEvalConfig(batch_size=8, shown=1, max_tokens=4, resamples=20),
    }
    return DpoConfig(**settings | changed)


def losses(directory):
    return [row["loss"] for row in read_metrics(directory / "metrics.jsonl") if "loss" in row]


@pytest.mark.parametrize(
    ("loss", "file", "method", "expected"),
    [
        ("dpo", "pairs.jsonl", "full", math.log(2)),
        ("dpo", "several.jsonl", "lora", math.log(2)),
        ("sdpo", "several.jsonl", "full", math.log(4)),
    ],
)
def test_a_run_starts_at_the_loss_of_indifference_and_learns(
    place, tmp_path, loss, file, method, expected
):
    tune = TuneConfig(base=str(place / "base"), method=method)
    config = tiny(place, file, loss=loss, tune=tune)
    train(config, tmp_path / "run", Options())
    first, *_, last = losses(tmp_path / "run")
    assert first == pytest.approx(expected, abs=1e-5)
    assert last < expected
    valid = json.loads((tmp_path / "run" / "train.json").read_text())["valid"]
    assert valid["margin"] == pytest.approx(
        valid["chosen_reward"] - valid["rejected_reward"], abs=1e-5
    )
    # Held-out prompts have the same answers.
    assert valid["accuracy"] == 1.0 and valid["loss"] < expected


def test_metrics_are_those_of_texts_without_padding(place):
    config = tiny(place, "several.jsonl", loss="sdpo", beta=0.3)
    opened = open_model(place / "base")
    parts, _ = encode_parts(config, opened.tokenizer, load_preferences(config.data))
    test, model = parts["test"], opened.model.spec.build()
    other = random_params(model, seed=1)

    def by_hand(params):
        """Log-probability of each answer with its end, from one row at a time."""
        apply, found = jax.jit(model.apply), []
        for row in test.rows:
            given = opened.tokenizer(row.prompt)["input_ids"]
            for answer in row.answers:
                written = [*opened.tokenizer(answer)["input_ids"], opened.tokenizer.eos_token_id]
                length = len(given) + len(written)
                # What follows a token changes nothing, and one length compiles once.
                whole = np.array([[*given, *written, *[0] * (48 - length)]])
                logits = np.asarray(apply(params, whole, np.ones_like(whole, bool)), np.float64)[0]
                scores = scipy.special.log_softmax(logits, axis=-1)
                places = np.arange(len(given) - 1, length - 1)
                found.append(scores[places, whole[0, 1:][places]].sum())
        return np.array(found).reshape(len(test.rows), 4)

    given = (jnp.asarray(x) for x in (test.tokens, test.valid, test.answer))
    ours = np.asarray(answer_log_probs(model, opened.model.params, *given))
    policy, reference = by_hand(opened.model.params), by_hand(other)
    np.testing.assert_allclose(ours, policy, atol=1e-4)

    test = dataclasses.replace(test, reference=reference.astype(np.float32))
    values = implicit_values(config, ours, test)
    rewards = 0.3 * (policy - reference)
    gaps = rewards[:, :1] - rewards[:, 1:]
    np.testing.assert_allclose(values["margin"], gaps.mean(axis=1), atol=1e-4)
    np.testing.assert_allclose(values["accuracy"], (gaps > 0).mean(axis=1))
    expected = np.log1p(np.exp(-gaps).sum(axis=1))
    np.testing.assert_allclose(values["loss"], expected, atol=1e-4)
    found = likelihood_values(ours, test)
    lengths = np.array([[len(a) + 1 for a in row.answers] for row in test.rows])
    each = policy / lengths
    np.testing.assert_allclose(found["likelier"], (policy[:, :1] > policy[:, 1:]).mean(axis=1))
    np.testing.assert_allclose(
        found["likelier_per_token"], (each[:, :1] > each[:, 1:]).mean(axis=1)
    )
    np.testing.assert_allclose(found["chosen_nats"], -each[:, 0], atol=1e-5)
    np.testing.assert_allclose(found["rejected_nats"], -each[:, 1:].mean(axis=1), atol=1e-5)


def test_rankings_and_contradictions_of_feedback_become_examples(place, tmp_path):
    base = {"kind": "ranking", "time": 0.0}
    path = tmp_path / "feedback.jsonl"
    for n in range(40):
        about = {"prompt_id": str(n), "prompt": f"Say {n}.", "answers": ("a", "b", "c")} | base
        append_feedback(path, Feedback(labeler="ann", payload={"ranks": [2, 1, 3]}, **about))
        # Bob disagrees about the first two.
        append_feedback(path, Feedback(labeler="bob", payload={"ranks": [1, 2, 3]}, **about))
    data = PreferenceConfig(name="mine", feedback=(str(path),), valid=0.2, test=0.2)
    row = load_preferences(data).parts["train"].rows[0]
    assert examples_of(row, several=False) == [(0, (2,)), (1, (2,))]
    ann = load_preferences(dataclasses.replace(data, labelers=("ann",))).parts["train"].rows[0]
    assert examples_of(ann, several=True) == [(0, (2,)), (1, (0, 2))]
    with pytest.raises(DataError, match=r"unknown labeler 'an', did you mean 'ann'"):
        load_preferences(dataclasses.replace(data, labelers=("an",)))
    # Every prompt counts once.
    config = tiny(place, data=data)
    parts, _ = encode_parts(config, open_model(place / "base").tokenizer, load_preferences(data))
    assert parts["train"].weight.tolist() == [0.5] * len(parts["train"])


def test_a_run_that_breaks_off_ends_as_if_it_had_not(place, tmp_path, monkeypatch):
    train(tiny(place), tmp_path / "whole", Options())

    def broken(*given):
        if (tmp_path / "broken" / "checkpoints" / "2").exists():
            raise DataError("the power is gone")
        return implicit_values(*given)

    monkeypatch.setattr(dpo_run, "implicit_values", broken)
    with pytest.raises(DataError, match="the power is gone"):
        train(tiny(place), tmp_path / "broken", Options())
    monkeypatch.undo()
    train(tiny(place), tmp_path / "broken", Options())

    def leaves(name):
        steps = (tmp_path / name / "checkpoints").glob("[0-9]*")
        bodies = {s.name: json.loads((s / "record" / "metadata").read_text()) for s in steps}
        return {step: body["body"]["leaves"] for step, body in bodies.items()}

    assert leaves("whole") == leaves("broken")  # checksums of all parameters and moments
    assert losses(tmp_path / "whole") == losses(tmp_path / "broken")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (pair(9, "no", "no"), r"line 2: the chosen and a rejected answer to .* are both 'no'"),
        (pair(9, rejected=["maybe", "yes"]), r"line 2: the chosen and a rejected answer"),
        (pair(9, chosen=" "), r"line 2: the chosen answer to 'Is 9 a number\? ' is empty"),
        (pair(9, rejected=""), r"line 2: the rejected answer to .* is empty"),
        (pair(9, rejected=[]), r"line 2: 'rejected' must be a text or a list of texts"),
        (pair(9, rejected=[3]), r"line 2: 'rejected' must be a text, got 3"),
        ({"prompt": "a", "chosen": "b"}, r"line 2: no key 'rejected'; a preference has the keys"),
        (
            {"prompt": "", "chosen": "b", "rejected": "c"},
            r"line 2: 'prompt' must be a text, got ''",
        ),
    ],
)
def test_a_record_that_is_no_preference_is_named(place, tmp_path, row, message):
    path = records(tmp_path / "bad.jsonl", pair(1), row)
    config = tiny(place, data=PreferenceConfig(name="mine", records=(path,)))
    with pytest.raises(DataError, match=message):
        train(config, tmp_path / "run", Options())
    assert not (tmp_path / "run").exists()


def test_what_does_not_fit_is_counted_and_nothing_is_cut(place, tmp_path, capsys):
    rows = [pair(n) for n in range(40)]
    rows += [pair("of very many letters, namely these and those and more,") for _ in range(1)]
    rows += [pair(77, rejected="no " * 30)]
    path = records(tmp_path / "long.jsonl", *rows)
    config = tiny(place, data=PreferenceConfig(name="mine", records=(path,), valid=0.2, test=0.2))
    train(config, tmp_path / "run", Options(dry=True))
    said = capsys.readouterr().out
    assert "1 prompts that fill the context" in said
    assert "1 answers that do not fit the context" in said
    with pytest.raises(DataError, match=r"--max-length 8 leaves no preference in the part"):
        train(dataclasses.replace(config, max_length=8), tmp_path / "run", Options(dry=True))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tune": TuneConfig()}, r"tune\.base is empty, and DPO starts from a text model"),
        ({"frame": "chat"}, "chat template"),
    ],
)
def test_what_cannot_run_is_refused_before_any_training(place, tmp_path, changed, message):
    with pytest.raises(ConfigError, match=message):
        train(tiny(place, **changed), tmp_path / "run", Options())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": "mine"}, r"--data\.name mine has no files"),
        ({"rejected": 3, "records": ("a",)}, r"--data\.rejected 3 belongs to"),
        ({"labelers": ("ann",)}, r"--data\.labelers belongs to files of feedback"),
        ({"valid": 0.5, "test": 0.5}, "they must leave prompts to train on"),
    ],
)
def test_settings_of_data_that_are_not_read_are_refused(changed, message):
    with pytest.raises(ConfigError, match=message):
        PreferenceConfig(**changed)


@pytest.mark.parametrize(
    ("tune", "message"),
    [
        (TuneConfig(method="prompt", base="x"), "virtual tokens before every text"),
        (TuneConfig(method="lora", base="x", dropout=0.1), r"tune\.dropout 0\.1 has no effect"),
    ],
)
def test_tuning_that_log_probabilities_do_not_see_is_refused(tune, message):
    with pytest.raises(ConfigError, match=message):
        DpoConfig(tune=tune)


@pytest.mark.slow
def test_the_commands_train_measure_report_and_export_a_lora_run(place, tmp_path, capsys):
    config = tmp_path / "mine.py"
    config.write_text(
        "from jaxrec.systems.dpo import *\n"
        "from jaxrec.peft import TuneConfig\n"
        "from jaxrec.train import TrainConfig\n"
        "def get_config():\n"
        f"    data = PreferenceConfig(name='mine', records=({str(place / 'pairs.jsonl')!r},),"
        " valid=0.2, test=0.2)\n"
        f"    tune = TuneConfig(base={str(place / 'base')!r}, method='lora')\n"
        "    train = TrainConfig(steps=120, batch_size=8, lr=1e-2, warmup_steps=0)\n"
        "    return DpoConfig(data=data, max_length=48, tune=tune, train=train)\n"
    )
    run = tmp_path / "run"
    assert main(["train", str(config), "--quick", "--run-dir", str(run)]) == 0
    capsys.readouterr()
    assert main(["eval", str(run)]) == 0
    assert "prompt | start | model" in capsys.readouterr().out
    found = json.loads((run / "eval.json").read_text())
    rows = found["rows"]
    assert set(rows) == {"model", "start", "longer answer"}
    assert rows["model"]["metrics"]["accuracy"] == 1.0
    assert rows["longer answer"]["metrics"]["likelier"] == 1.0  # "yes" is longer than "no"
    assert [row["metric"] for row in found["comparisons"]] == ["likelier", "likelier_per_token"]
    assert main(["report", str(run)]) == 0
    assert "DPO on text" in (run / "report.html").read_text()
    assert main(["export", str(run), "--to", "peft", "--out", str(tmp_path / "adapter")]) == 0
    assert main(["export", str(run), "--to", "hf", "--out", str(tmp_path / "whole")]) == 0

    import torch
    import transformers

    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "whole")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "whole")
    row = load_preferences(load_run(run).data).parts["test"].rows[0]
    asked, answer = (tokenizer(text)["input_ids"] for text in (row.prompt, "yes"))
    whole = torch.tensor([[*asked, *answer, tokenizer.eos_token_id]])
    with torch.no_grad():
        scores = theirs(whole).logits[0].log_softmax(-1)
    places = range(len(asked) - 1, whole.shape[1] - 1)
    nats = -sum(float(scores[t, whole[0, t + 1]]) for t in places) / len(places)
    assert found["values"]["chosen_nats"][0] == pytest.approx(nats, abs=1e-4)


def test_evaluation_has_the_start_and_the_model_on_the_test_prompts(place, tmp_path):
    config = tiny(place)
    train(config, tmp_path / "run", Options())
    found = evaluate(config, tmp_path / "run", baselines=())
    count = len(load_preferences(config.data).parts["test"])
    assert {len(values) for values in found["values"].values()} == {count}
    metrics = {name: set(row["metrics"]) for name, row in found["rows"].items()}
    assert metrics["start"] == {"likelier", "likelier_per_token", "chosen_nats", "rejected_nats"}
    assert metrics["start"] < metrics["model"]
    with pytest.raises(ConfigError, match=r"other settings \(beta was 0\.1 and is 0\.2\)"):
        train(dataclasses.replace(config, beta=0.2), tmp_path / "run", Options())
