"""`jaxrec serve` in a process of its own: it starts, answers, drains and says what is wrong."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest

from jaxrec.cli.main import main
from jaxrec.data import save_tokenizer, train_bpe
from jaxrec.models import ModelSpec, Pretrained, save_model
from jaxrec.testing import random_params, tiny_model

pytest.importorskip("prometheus_client", reason="needs the extra serve")
pytest.importorskip("uvicorn", reason="needs the extra serve")


def save_tiny(path):
    """Save a tiny decoder, and return the tokenizer that fits it."""
    tokenizer = train_bpe(["one word"], vocab_size=280)
    spec = ModelSpec("causal", tiny_model(len(tokenizer)))
    save_model(Pretrained(spec=spec, params=random_params(spec.build())), path)
    return tokenizer


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A model directory with a tokenizer."""
    path = tmp_path_factory.mktemp("models") / "tiny"
    save_tokenizer(save_tiny(path), path)
    return path


def says(capsys, code, arguments, *words):
    # The usual port may be in use.
    assert main(["serve", "--port", "0", *map(str, arguments)]) == code
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and all(word in lines[0] for word in words), lines


def test_mistakes_are_one_line(capsys, directory, tmp_path):
    says(capsys, 3, ["nowhere"], "nowhere")
    says(capsys, 2, ["quickstart"], "is a config and no run")
    says(capsys, 2, [directory, "--port", "70000"], "port")
    says(capsys, 2, [directory, "--batch-sizes", "0"], "batch")
    says(capsys, 2, [directory, "--port", "0", "--context", "65"], "context 65", "at most 64")
    says(capsys, 2, [directory, "--host", "192.0.2.1"], "--host")
    says(capsys, 3, [directory, "--api-key-file", tmp_path / "keys"], "keys cannot be read")


def test_a_model_without_a_tokenizer_is_refused(capsys, tmp_path):
    save_tiny(tmp_path / "bare")
    says(capsys, 2, [tmp_path / "bare", "--port", "0"], "has none", "tokenizer's files")


def test_options_of_the_other_kind_are_refused(capsys, directory):
    says(capsys, 2, [directory, "--catalogue-dir", "files"], "--catalogue-dir", "served as text")
    says(capsys, 3, [directory, "--kind", "items"], "no run directory")


@pytest.mark.slow
def test_sigterm_loses_no_request(directory):
    """Requests that are being answered when the signal comes are answered whole."""
    command = [sys.executable, "-m", "jaxrec.cli.main", "serve", str(directory), "--port", "0"]
    shapes = ["--prompt-lengths", "32", "--answer-lengths", "32", "--batch-sizes", "4"]
    process = subprocess.Popen(
        [*command, *shapes, "--drain-delay", "0.2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert "context 64" in process.stdout.readline()
        url = process.stdout.readline().split()[0]
        answers = []

        def ask(number):
            body = {"model": "tiny", "prompt": "one", "max_tokens": 32, "n": 64, "seed": number}
            request = urllib.request.Request(
                f"{url}/completions",
                json.dumps(body).encode(),
                {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=60) as answer:
                answers.append(json.load(answer))

        def ready():
            try:
                with urllib.request.urlopen(url.replace("/v1", "/readyz"), timeout=5) as answer:
                    return answer.status == 200
            except (urllib.error.HTTPError, OSError):
                return False

        deadline = time.monotonic() + 120
        while not ready():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.1)
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.1)
        os.kill(process.pid, signal.SIGTERM)
        for thread in threads:
            thread.join()
        log = process.communicate(timeout=60)[1]
    finally:
        process.kill()
        process.wait()
    assert [len(answer["choices"]) for answer in answers] == [64] * 8
    lines = [json.loads(line) for line in log.splitlines()]
    assert lines[0]["event"] == "ready"
    assert [line["status"] for line in lines[1:]] == [200] * 8
    assert process.returncode == 0
