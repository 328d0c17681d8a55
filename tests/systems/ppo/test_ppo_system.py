"""PPO on text as a system: corpus, rules, refusals; and a tiny run, killed and measured."""

import dataclasses
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.align import Episodes, PpoSettings
from jaxrec.cli.main import main
from jaxrec.core import ConfigError, DataError
from jaxrec.data import train_bpe
from jaxrec.models import ModelSpec, Pretrained, save_model
from jaxrec.peft import TuneConfig
from jaxrec.prompting import GenerateOptions
from jaxrec.runs import open_language_model
from jaxrec.systems.ppo import PpoConfig, PpoDataConfig
from jaxrec.systems.ppo.rules import make_reward
from jaxrec.systems.ppo.texts import cut_prompts, load_corpus, windows
from jaxrec.testing import random_params, tiny_model
from jaxrec.testing.launch import exit_codes, launch
from jaxrec.train import TrainConfig, read_metrics

CONFIG = """
from jaxrec.align import PpoSettings
from jaxrec.models import TransformerConfig
from jaxrec.systems.ppo import PpoDataConfig, PpoConfig, PpoEvalConfig
from jaxrec.train import TrainConfig


def get_config():
    return PpoConfig(
        data=PpoDataConfig(name="sums", path={path!r}),
        model=TransformerConfig(width=32, depth=1, num_heads=2, max_length=64),
        window=32,
        pretrain=TrainConfig(steps=60, batch_size=16, lr=1e-2, warmup_steps=5, eval_every=30),
        prompt=8,
        prompts=64,
        ppo=PpoSettings(response=6, temperature=1.0, minibatches=2, beta=0.05),
        train=TrainConfig(
            steps=160, batch_size=16, lr=3e-3, warmup_steps=0, weight_decay=0.0, eps=1e-5,
            eval_every=5, log_every=8, max_loss_ratio=0.0,
        ),
        eval=PpoEvalConfig(valid_prompts=32, test_prompts=64),
    )
"""
SCRIPT = "import sys; from jaxrec.cli.main import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    place = tmp_path_factory.mktemp("ppo")
    rng = np.random.default_rng(0)
    lines = [
        {"question": f"Add {a} and {b}.", "answer": f"The sum of them is {a + b}, of course."}
        for a, b in rng.integers(1, 50, (200, 2)).tolist()
    ]
    path = place / "sums.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (place / "tiny.py").write_text(CONFIG.format(path=str(path)))
    tokenizer = train_bpe(["a"], 260)
    spec = ModelSpec("causal", tiny_model(len(tokenizer)))
    save_model(Pretrained(spec=spec, params=random_params(spec.build())), place / "base", tokenizer)
    return place


def test_the_last_documents_are_held_out(corpus):
    config = PpoDataConfig(path=str(corpus / "sums.jsonl"), held_out=0.25)
    read = load_corpus(config)
    assert (len(read.train), len(read.held)) == (150, 50)
    lines = (corpus / "sums.jsonl").read_text().splitlines()
    wanted = ["{question}\n{answer}".format(**json.loads(line)) for line in lines]
    assert [*read.train, *read.held] == wanted
    with pytest.raises(DataError, match=r"has 200 documents, of which data\.held_out 0\.001"):
        load_corpus(dataclasses.replace(config, held_out=0.001))


def test_a_text_file_holds_documents_between_blank_lines(tmp_path, monkeypatch):
    (tmp_path / "poems.txt").write_text("one\n\ntwo\nlines\n\n\n\nthree\n")
    monkeypatch.setenv("JAXREC_DATA", str(tmp_path))
    read = load_corpus(PpoDataConfig(path="poems.txt", held_out=0.4))
    assert (read.train, read.held) == (["one", "two\nlines"], ["three"])


def test_prompts_are_places_of_the_text_and_windows_cover_it():
    tokens = np.arange(100, dtype=np.int32) * 3
    prompts = cut_prompts(tokens, 500, 24, seed=0)
    assert (np.diff(prompts, axis=1) == 3).all()
    assert {0, 76 * 3} <= set(prompts[:, 0].tolist())  # the first and the last place
    assert windows(tokens, 30).tokens.ravel().tolist() == tokens[:90].tolist()
    for cut in (lambda: cut_prompts(tokens, 1, 101, seed=0), lambda: windows(tokens, 101)):
        with pytest.raises(DataError, match="the corpus has 100 tokens, fewer than a"):
            cut()


class Words:
    """A tokenizer of some words."""

    def __init__(self, *words):
        self.words = words

    def get_vocab(self):
        return {word: number for number, word in enumerate(self.words)}


def test_rules_count_digits_or_different_digits():
    tokenizer = Words("<pad>", "a", "7", "77", "3", "")
    response = jnp.array([[2, 2, 4, 1], [2, 2, 0, 0], [3, 1, 5, 5]], jnp.int32)
    mask = jnp.array([[True] * 4, [True, True, False, False], [True] * 4])
    zeros = jnp.zeros((3, 4))
    episodes = Episodes(
        tokens=response,
        valid=mask,
        mask=mask,
        ended=mask[:, 0],
        logprobs=zeros,
        reference=zeros,
        entropy=zeros,
        values=zeros,
    )
    share, different = (
        make_reward(rule, tokenizer, 6).score(episodes, "a test")
        for rule in ("digits", "different_digits")
    )
    assert share.tolist() == [7.5, 10.0, 0.0]
    assert different.tolist() == [5.0, 5.0, 0.0]
    with pytest.raises(ConfigError, match="no token of the tokenizer is a single digit"):
        make_reward("digits", Words("a", "12", ""), 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tune": TuneConfig(method="prompt", base="x")}, "virtual tokens"),
        ({"tune": TuneConfig(method="lora")}, "give one as tune.base"),
        ({"gold": "digits"}, "gold 'digits' is the reward itself"),
        ({"ppo": PpoSettings(unended_penalty=1.0)}, "nothing ends a response; set end"),
        ({"train": TrainConfig(ema_decay=0.9)}, "train.ema_decay 0.9 would measure another"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        PpoConfig(**change)


@pytest.mark.slow
def test_a_run_raises_its_score_and_is_measured(corpus, tmp_path, capsys):
    run = str(tmp_path / "run")
    assert main(["train", str(corpus / "tiny.py"), "--run-dir", run]) == 0
    capsys.readouterr()
    assert main(["eval", run]) == 0
    row = json.loads((tmp_path / "run" / "eval.json").read_text())["rows"]["model"]
    assert row["metrics"]["score"] > 2 * row["metrics"]["start_score"] > 0
    assert row["metrics"]["kl"] > 0
    low, high = row["intervals"]["score"]
    assert low < row["metrics"]["score"] < high
    assert "prompt | response" in capsys.readouterr().out
    assert main(["report", run]) == 0
    assert "PPO on text" in (tmp_path / "run" / "report.html").read_text()
    # Its policy is a language model, which has learned to write what the reward counts.
    model = open_language_model(run)
    options = GenerateOptions(max_tokens=16, n=8, temperature=1.0)
    texts = model.generate(["Add "], options)[0].texts
    digits = sum(character.isdigit() for text in texts for character in text)
    assert digits > 0.5 * sum(map(len, texts)) > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ("--value", "separate", "--ppo.kl-target", "3.0", "--ppo.whiten", "minibatch"),
        ("--end", ".", "--ppo.unended-penalty", "1", "--ppo.pretraining-weight", "0.5"),
        ("--gold", "different_digits", "--ppo.kl-budget", "40", "--ppo.whiten-rewards"),
        ("--tune.base", "base", "--tune.method", "lora"),
        ("--tune.base", "base", "--value", "separate", "--tune.method", "qlora"),
    ],
)
def test_every_kind_of_setting_trains(corpus, tmp_path, options):
    run = str(tmp_path / "run")
    options = [str(corpus / word) if word == "base" else word for word in options]
    short = ("--train.steps", "48", "--pretrain.steps", "20")
    assert main(["train", str(corpus / "tiny.py"), "--run-dir", run, *short, *options]) == 0
    rows = [r for r in read_metrics(tmp_path / "run" / "metrics.jsonl") if "loss" in r]
    assert all(np.isfinite(list(row.values())).all() for row in rows)
    assert ("text_loss" in rows[0]) == ("--end" in options)
    assert (rows[-1]["eos_rate"] > 0) == ("--end" in options)
    # The first rollout is that of the reference: with LoRA, of the base without the branch.
    assert rows[0]["kl"] == pytest.approx(0.0, abs=1e-4) and abs(rows[-1]["kl"]) > 1e-3
    assert main(["eval", run]) == 0


@pytest.mark.slow
def test_a_policy_that_repeats_one_digit_is_stopped_by_the_reward_for_different_ones(
    corpus, tmp_path, capsys
):
    run = tmp_path / "run"
    words = ["--gold", "different_digits", "--ppo.beta", "0", "--train.eval-every", "24"]
    words += ["--train.steps", "480", "--run-dir", str(run)]
    assert main(["train", str(corpus / "tiny.py"), *words]) == 0
    assert "the gold reward fell" in capsys.readouterr().out
    summary = json.loads((run / "train.json").read_text())
    rows = [r for r in read_metrics(run / "metrics.jsonl") if "valid/gold" in r]
    golds, scores = ([row[f"valid/{name}"] for row in rows] for name in ("gold", "score"))
    assert summary["steps"] < 480 and "the reward rose" in summary["stopped"]
    best = golds.index(max(golds))
    assert golds[0] < golds[best] > golds[-1] and scores[-1] > scores[best] + 1
    assert summary["best_step"] == rows[best]["step"] < summary["steps"]
    assert main(["report", str(run)]) == 0
    assert "Score against KL: from " in (run / "report.html").read_text()


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_with_the_same_bits(corpus, tmp_path):
    command = [sys.executable, "-c", SCRIPT, "train", str(corpus / "tiny.py")]
    command += ["--pretrain.steps", "10", "--pretrain.eval-every", "10", "--train.steps", "48"]
    cache = Path(os.environ.get("JAX_COMPILATION_CACHE_DIR", tmp_path / "compiled"))

    def train(name):
        log, place = tmp_path / f"{name}.log", str(tmp_path / name)
        return launch([*command, "--run-dir", place], 1, 1, cache=cache, output=log)

    for name in ("first", "whole"):
        begun = time.monotonic()
        assert exit_codes(train(name)) == [0], (tmp_path / f"{name}.log").read_text()
    seconds, rng = time.monotonic() - begun, random.Random(0)
    for _ in range(5):
        (started,) = train("broken")
        time.sleep(rng.uniform(0.3, 0.9) * seconds)
        started.send_signal(signal.SIGKILL)
        exit_codes([started])
    assert exit_codes(train("broken")) == [0], (tmp_path / "broken.log").read_text()

    def record(name):
        steps = sorted((tmp_path / name / "checkpoints").glob("[0-9]*"))
        bodies = {s.name: json.loads((s / "record" / "metadata").read_text()) for s in steps}
        return {step: body["body"]["leaves"] for step, body in bodies.items()}

    def rows(name):
        lines = read_metrics(tmp_path / name / "metrics.jsonl")
        return [(r["step"], r.get("loss"), r.get("score"), r.get("valid/score")) for r in lines]

    assert record("broken") == record("whole")  # checksums of all parameters and moments
    assert rows("broken") == rows("whole")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--prompt", "60"), "a response of ppo.response 6: 66 tokens"),
        (("--window", "65"), "a pre-training text: 65 tokens"),
        (("--end", "the end"), "end 'the end' is 7 tokens"),
        (("--data.path", "nowhere.txt"), "nowhere.txt was not found"),
    ],
)
def test_what_cannot_run_is_refused_before_any_training(corpus, tmp_path, capsys, options, message):
    run = tmp_path / "run"
    learned = ("--model.positions", "learned")
    words = ["train", str(corpus / "tiny.py"), "--run-dir", str(run), *learned, *options]
    assert main(words) in (2, 3)
    assert message in capsys.readouterr().err
    assert not (run / "config.json").exists()
