"""`jaxrec capacity`: tables, one JSON line, a page, and errors before any work."""

import contextlib
import dataclasses
import http.server
import json
import subprocess
import sys
import threading
import time

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from jaxrec.capacity import TASKS
from jaxrec.cli.main import main
from jaxrec.data import train_bpe
from jaxrec.models import ModelSpec, Pretrained, save_model
from jaxrec.prompting import LocalModel
from jaxrec.testing import random_params, tiny_model
from jaxrec.testing.html import Page

PAIRS = [
    {"sentence_good": f"The cat is {w}.", "sentence_bad": f"The cat are {w}.", "UID": uid}
    for uid, words in (("is", ("big", "red")), ("are", ("old", "new")))
    for w in words
]
SUMS = {
    "name": "sums",
    "kind": "write",
    "files": ["sums.csv"],
    "prompt": "{question} =",
    "target": "{answer}",
    "max_tokens": 4,
    "shots": 1,
}
CODE = """
from jaxrec.capacity import last_word_task


def get_tasks():
    return last_word_task("novel", "last words", ["novel.txt"])
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A model directory, data, and task files."""
    root = tmp_path_factory.mktemp("capacity")
    tokenizer = train_bpe(["The cat is big. 1 + 2 = 3"] * 3, vocab_size=280)
    config = dataclasses.replace(tiny_model(len(tokenizer)), max_length=256)
    spec = ModelSpec("causal", config)
    params = {"params": random_params(spec.build())["params"]}
    save_model(Pretrained(spec=spec, params=params), root / "models" / "cat", tokenizer)
    (root / "data" / "blimp").mkdir(parents=True)
    (root / "data" / "blimp" / "be.jsonl").write_text("\n".join(map(json.dumps, PAIRS)))
    (root / "data" / "sums.csv").write_text("question,answer\n1 + 1,2\n1 + 2,3\n2 + 2,\n")
    words = "one two three four five six seven eight nine ten eleven twelve"
    (root / "data" / "novel.txt").write_text(f"{words}.\n")
    (root / "sums.json").write_text(json.dumps(SUMS))
    (root / "novel.py").write_text(CODE)
    return root


def capacity(place, capsys, *words):
    assert main(["capacity", *map(str, words), "--data", str(place / "data")]) == 0
    lines = capsys.readouterr().out.splitlines()
    return json.loads(lines[-1]), "\n".join(lines)


def test_tasks_of_all_kinds_end_in_one_table_one_line_and_a_page(place, capsys, tmp_path):
    model, out = place / "models" / "cat", tmp_path / "out"
    words = ["--tasks", "blimp", place / "sums.json", place / "novel.py", "--out", out]
    found, text = capacity(place, capsys, model, *words)
    assert list(found["tasks"]) == ["blimp", "sums", "novel"]
    assert found["model"].startswith("cat-")
    tasks = found["tasks"]
    assert tasks["blimp"]["metrics"]["accuracy"]["count"] == 4
    assert set(tasks["blimp"]["groups"]["UID"]) == {"is", "are"}
    assert (tasks["sums"]["documents"], tasks["sums"]["shots"]) == (1, 1)
    assert tasks["sums"]["missing"] == {"answer": 1}
    assert "sums: 1 documents without answer are left out, such as sums.csv:3" in text
    assert json.loads((out / "result.json").read_text()) == found
    rows = [*map(json.loads, (out / "values" / "blimp.jsonl").read_text().splitlines())]
    mean = sum(row["values"]["accuracy"] for row in rows) / 4
    assert tasks["blimp"]["metrics"]["accuracy"]["value"] == mean
    page = Page((out / "report.html").read_text())
    assert set(tasks) <= set(page.ids)
    assert (
        "Documents without a field are left out: answer (1); the first is sums.csv:3" in page.text
    )
    # Nothing is fetched.
    assert not page.addresses


def test_the_same_study_gives_the_same_files(place, capsys, tmp_path):
    words = [place / "models" / "cat", "--tasks", "blimp", "--limit", 2, "--batch", 1]
    made = []
    for out in (tmp_path / "a", tmp_path / "b"):
        capacity(place, capsys, *words, "--out", out)
        made.append([(out / name).read_bytes() for name in ("result.json", "report.html")])
    assert made[0] == made[1]


def test_an_interrupted_study_goes_on_with_the_same_result(place, capsys, tmp_path, monkeypatch):
    words = ["--tasks", "blimp", "--batch", 1, "--out"]
    model = place / "models" / "cat"
    whole, text = capacity(place, capsys, model, *words, tmp_path / "whole")
    assert "8 questions" in text
    score, calls = LocalModel.score, []

    def dies(self, prompts, continuations):
        calls.append(prompts)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return score(self, prompts, continuations)

    monkeypatch.setattr(LocalModel, "score", dies)
    out = tmp_path / "killed"
    arguments = [model, *words, out, "--data", place / "data"]
    assert main(["capacity", *map(str, arguments)]) == 130
    found, _ = capacity(place, capsys, model, *words, out)
    assert found == whole
    # Two of four documents were answered, the third was not.
    assert len(calls) == 5
    for name in ("result.json", "report.html", "values/blimp.jsonl"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_limit_and_a_context_are_kept(place, capsys, tmp_path):
    words = ["--tasks", "blimp", "--limit", 3, "--context", 64, "--out", tmp_path]
    found, _ = capacity(place, capsys, place / "models" / "cat", *words)
    assert found["tasks"]["blimp"]["documents"] == 3
    assert found["model"].endswith("-context64")


def test_the_list_names_all_tasks_and_what_is_missing(place, capsys):
    assert main(["capacity", "--list", "--data", str(place / "data")]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in TASKS)
    assert "1 file" in text and "missing" in text


@pytest.fixture(scope="module")
def encoder(place):
    """An encoder that finds all tokens equally likely, and one pair for it."""
    transformers = pytest.importorskip("transformers")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "he", "she", "sings"]
    tokenizer = transformers.BertTokenizerFast(vocab={word: n for n, word in enumerate(words)})
    spec = ModelSpec("masked", tiny_model(len(words)))
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), nn.meta.unbox(spec.shapes()))
    save_model(Pretrained(spec=spec, params=params), place / "models" / "bert", tokenizer)
    (place / "data" / "crows-pairs").mkdir()
    (place / "data" / "crows-pairs" / "crows_pairs_anonymized.csv").write_text(
        "sent_more,sent_less,bias_type\nhe sings,she sings,gender\n"
    )
    return place / "models" / "bert"


def test_an_encoder_that_knows_nothing_is_neutral(encoder, place, capsys, tmp_path):
    words = ["--tasks", "crows_pairs_masked", "--out", tmp_path]
    found, _ = capacity(place, capsys, encoder, *words)
    metrics = found["tasks"]["crows_pairs_masked"]["metrics"]
    assert {name: metrics[name]["value"] for name in metrics} == {
        "pct_stereotype": 0.0,
        "pct_neutral": 100.0,
        "likelihood_diff": 0.0,
    }


@pytest.mark.parametrize(
    ("model", "task", "message"),
    [
        ("bert", "blimp", "task blimp needs a model that continues texts, and bert-"),
        ("cat", "crows_pairs_masked", "task crows_pairs_masked masks tokens, and cat-"),
    ],
)
def test_a_task_needs_a_model_of_its_kind(model, task, message, encoder, place, capsys, tmp_path):
    words = [encoder.parent / model, "--tasks", task, "--out", tmp_path, "--data", place / "data"]
    assert main(["capacity", *map(str, words)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "no model is given"),
        (["models/cat"], 2, "no tasks are given; tasks: blimp"),
        (["models/cat", "--tasks", "blmp"], 2, "no task 'blmp', did you mean 'blimp'?"),
        (["models/cat", "--tasks", "blimp", "blimp"], 2, "task 'blimp' is given twice"),
        (["models/cat", "--tasks", "gsm8k"], 3, "train.jsonl[.gz] does not exist"),
        (["models/cat", "--tasks", "blimp", "--shots", "2"], 2, "takes no demonstrations, got 2"),
        (["models/cat", "--tasks", "no.json"], 3, "no.json is missing; check the path"),
        (["models/cat", "--tasks", "bad.py"], 2, "get_tasks() must return a list of tasks"),
        (["models/cat", "--tasks", "empty.py"], 2, "defines no get_tasks(); it must return a list"),
        (["models/dog", "--tasks", "blimp"], 3, "models/dog"),
        (["models/cat", "--tasks", "blimp", "--limit", "0"], 2, "--limit"),
        (
            ["models/cat", "--tasks", "blimp", "--context", "257"],
            2,
            "--context 257 is larger than the context of models/cat, which is 256 tokens",
        ),
        (["models/cat", "--tasks", "blimp", "--timeout", "9"], 2, "--timeout is about requests to"),
        (["models/cat", "--tasks", "blimp", "--retries", "0"], 2, "--retries is about requests to"),
        (["cat", "--tasks", "blimp", "--endpoint", "http://x", "--timeout", "0"], 2, "--timeout"),
        (
            ["cat", "--tasks", "blimp", "--endpoint", "http://localhost", "--overflow", "cut"],
            2,
            "a service has its own rule",
        ),
    ],
)
def test_what_cannot_be_run_is_rejected(words, code, message, place, capsys, monkeypatch):
    monkeypatch.chdir(place)
    (place / "bad.py").write_text("def get_tasks():\n    return ['blimp']\n")
    (place / "empty.py").write_text("x = 1\n")
    assert main(["capacity", *words, "--data", "data"]) == code
    assert message in capsys.readouterr().err
    assert not (place / "runs").exists()


def test_a_directory_keeps_the_study_of_one_model(place, capsys, tmp_path):
    words = ["--tasks", "blimp", "--limit", 1, "--out", tmp_path]
    capacity(place, capsys, place / "models" / "cat", *words)
    model = [str(place / "models" / "cat"), *map(str, words), "--context", "64"]
    assert main(["capacity", *model, "--data", str(place / "data")]) == 2
    assert "holds the study of cat-" in capsys.readouterr().err
    (tmp_path / "study.json").write_text("{}")
    assert main(["capacity", *model, "--data", str(place / "data")]) == 3
    assert "study.json does not name a model" in capsys.readouterr().err


@pytest.fixture
def service(monkeypatch):
    """Return a function that starts a service: what it answers to each request, and its address."""
    pytest.importorskip("openai")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    servers = []

    def start(answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    self.send_response(200)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}/v1"

    yield start
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_model_behind_a_service_is_asked(place, capsys, tmp_path, service):
    asked = []

    def answer(request):
        asked.append(request)
        message = {"role": "assistant", "content": "3"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return json.dumps(
            {"id": "a", "object": "chat.completion", "created": 0, "model": "calculator"}
            | {"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 1}}
        ).encode()

    words = ["--endpoint", service(answer), "--endpoint-kind", "chat", "--out", tmp_path]
    found, _ = capacity(place, capsys, "calculator", *words, "--tasks", place / "sums.json")
    assert found["model"] == "calculator"
    assert found["tasks"]["sums"]["metrics"]["exact_match"]["value"] == 1.0
    assert asked[0]["messages"][-1]["content"] == "1 + 1 = 2\n\n1 + 2 ="


def test_answers_of_which_none_can_be_read_give_no_figures_and_an_error(
    place, capsys, tmp_path, service
):
    words = ["--endpoint", service(lambda request: b"<html>"), "--data", str(place / "data")]
    words += ["--tasks", str(place / "sums.json"), "--out", str(tmp_path)]
    assert main(["capacity", "calculator", *words]) == 4
    shown = capsys.readouterr()
    assert "sums: none of 1 answers could be read (it is no JSON object (1))" in shown.err
    assert "no answer could be read" in shown.out
    found = json.loads(shown.out.splitlines()[-1])
    assert found == json.loads((tmp_path / "result.json").read_text())
    assert found["tasks"]["sums"]["metrics"] == {}
    assert found["tasks"]["sums"]["failures"] == 1
    page = Page((tmp_path / "report.html").read_text()).text
    assert "None of the 1 answers could be read, so there are no figures." in page


def test_a_service_is_given_up_after_the_timeout_and_the_retries(place, capsys, tmp_path, service):
    done, asked = threading.Event(), []

    def hangs(request):
        asked.append(request)
        done.wait(60)
        return b"{}"

    words = ["--endpoint", service(hangs), "--endpoint-kind", "chat", "--data", place / "data"]
    words += ["--tasks", place / "sums.json", "--out", tmp_path]
    try:
        code = main(["capacity", "slow", *map(str, words), "--timeout", "0.05", "--retries", "1"])
    finally:
        done.set()
    assert code == 4
    assert "after 2 attempts; the last one failed with APITimeoutError" in capsys.readouterr().err
    assert len(asked) == 2


@pytest.mark.slow
def test_a_killed_process_loses_no_stored_answer(place, tmp_path):
    data = tmp_path / "data" / "blimp"
    data.mkdir(parents=True)
    rows = [PAIRS[0] | {"sentence_good": f"The cat is {n}."} for n in range(600)]
    (data / "many.jsonl").write_text("\n".join(map(json.dumps, rows)))

    def start(out):
        words = [place / "models" / "cat", "--tasks", "blimp", "--batch", 2, "--out", out]
        command = [sys.executable, "-m", "jaxrec.cli.main", "capacity", *map(str, words)]
        return subprocess.Popen([*command, "--data", str(data.parent)], stdout=subprocess.DEVNULL)

    assert start(tmp_path / "whole").wait() == 0
    process, answers = start(tmp_path / "killed"), tmp_path / "killed" / "answers.jsonl"
    while not answers.exists() or answers.read_bytes().count(b"\n") < 40:
        assert process.poll() is None, "the study ended before it was killed"
        time.sleep(0.005)
    process.kill()
    process.wait()
    kept = answers.read_bytes().count(b"\n")
    assert not (tmp_path / "killed" / "result.json").exists()
    assert start(tmp_path / "killed").wait() == 0
    whole = (tmp_path / "whole" / "answers.jsonl").read_bytes().count(b"\n")
    # Half a line that the killed process left is replaced.
    assert kept < whole == answers.read_bytes().count(b"\n")
    for name in ("result.json", "report.html", "values/blimp.jsonl"):
        whole_file, resumed = (tmp_path / d / name for d in ("whole", "killed"))
        assert whole_file.read_bytes() == resumed.read_bytes()


def test_tasks_that_are_made_by_rule_need_no_data(place, capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("JAXREC_DATA", raising=False)
    words = ["--tasks", "sums", "--limit", "2", "--shots", "0", "--out", str(tmp_path / "out")]
    assert main(["capacity", str(place / "models" / "cat"), *words]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["tasks"]["sums"]["documents"] == 2
    assert main(["capacity", "--list"]) == 0
    line = next(x for x in capsys.readouterr().out.splitlines() if " sums_spaced " in x)
    assert "made by rule" in line
