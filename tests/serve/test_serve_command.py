"""`jaxrec serve RUN` for a run that ranks items: it finds the kind, answers, swaps and drains."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

import jaxrec
from jaxrec.cli.main import main
from jaxrec.cli.serving import open_items

from .items import ask, serving_items
from .runs import sasrec_run

pytest.importorskip("prometheus_client", reason="needs the extra serve")
pytest.importorskip("uvicorn", reason="needs the extra serve")


def says(capsys, code, arguments, *words):
    # The usual port may be in use.
    assert main(["serve", "--port", "0", *map(str, arguments)]) == code
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and all(word in lines[0] for word in words), lines


def test_mistakes_are_one_line(capsys, item_run, tmp_path):
    run = item_run
    keys = tmp_path / "keys"
    keys.write_text("a-long-enough-key")
    says(capsys, 2, [run, "--context", "8"], "--context", "served as items")
    says(capsys, 2, [run, "--catalogue-dir", tmp_path], "both", "--admin-key-file")
    both = [run, "--admin-key-file", keys, "--catalogue-dir"]
    says(capsys, 2, [*both, tmp_path / "none"], "is no directory")
    says(capsys, 2, [*both, tmp_path], "needs --api-key-file")
    says(capsys, 2, [run, "--room", "-1"], "room")
    says(capsys, 2, [run, "--baseline", "popularty"], "no baseline 'popularty'", "popularity")
    text = [run, "--kind", "text", "--baseline", "popularity"]
    says(capsys, 2, text, "--baseline is for a service of items")
    says(capsys, 2, [run, "--cache-mb", "1", "--batch-sizes", "4096"], "--cache-mb 1 holds", "4096")
    says(capsys, 2, [run, "--diversity-groups", "1"], "shapes.groups is 1")


def test_a_baseline_is_served_in_place_of_the_model(item_run):
    with serving_items(open_items(item_run, "auto", "popularity")) as service:
        found = ask(service, histories=[["i003"]], top=4)["lists"][0]["items"]
    wanted = jaxrec.open(item_run, baseline="popularity").recommend(histories=[["i003"]], top=4)
    assert [x["item"] for x in found] == wanted.items[0].tolist()
    # It is not what the model says.
    model = jaxrec.open(item_run).recommend(histories=[["i003"]], top=4)
    assert [x["item"] for x in found] != model.items[0].tolist()


@pytest.mark.slow
def test_a_process_answers_swaps_and_ends(tmp_path):
    run = sasrec_run(tmp_path)[1]
    (tmp_path / "keys").write_text("an-ordinary-key")
    (tmp_path / "admins").write_text("a-key-of-an-administrator")
    (tmp_path / "next.json").write_text(json.dumps({"removed": ["i001"]}))
    command = [sys.executable, "-m", "jaxrec.cli.main", "serve", str(run), "--port", "0"]
    files = ["--api-key-file", tmp_path / "keys", "--admin-key-file", tmp_path / "admins"]
    process = subprocess.Popen(
        [*command, *map(str, files), "--catalogue-dir", str(tmp_path), "--batch-sizes", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert "items" in process.stdout.readline()
        url = process.stdout.readline().split()[0]

        def call(path, body=None, method="POST", key="an-ordinary-key"):
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
            data = None if body is None else json.dumps(body).encode()
            request = urllib.request.Request(url + path, data, headers, method=method)
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)

        deadline = time.monotonic() + 240
        while True:
            assert time.monotonic() < deadline and process.poll() is None
            try:
                urllib.request.urlopen(url.replace("/v1", "/readyz"), timeout=5).close()
                break
            except (urllib.error.HTTPError, OSError):
                time.sleep(0.2)
        model = jaxrec.open(run)
        lists = model.recommend(users=["u003"], top=3)
        answer = call("/recommend", {"users": ["u003"], "top": 3})
        assert [x["item"] for x in answer["lists"][0]["items"]] == lists.items[0].tolist()
        facts = call("/catalogue", {"file": "next.json"}, "PUT", "a-key-of-an-administrator")
        assert facts["removed"] == 1
        os.kill(process.pid, signal.SIGTERM)
        process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
