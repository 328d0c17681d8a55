"""Two labelers answer at the same time, and the server is killed: what it confirmed is kept."""

import contextlib
import http.client
import json
import re
import subprocess
import sys
import threading
import urllib.request

import pytest

from jaxrec.align import mend_feedback, read_feedback
from jaxrec.serve import Labeling, read_tasks

pytest.importorskip("uvicorn", reason="needs the extra serve")


def call(url, said=None):
    body = None if said is None else json.dumps(said).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)


def test_no_confirmed_answer_is_lost_and_none_is_asked_twice(tmp_path):
    data, out = tmp_path / "prompts.jsonl", tmp_path / "feedback.jsonl"
    rows = [{"prompt": f"prompt {n}", "answers": ["x", "y"]} for n in range(2000)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [sys.executable, "-m", "jaxrec.cli.main", "feedback", "serve", str(data)]
    command += ["--out", str(out), "--port", "0", "--questions", "kind"]
    confirmed = {"ann": [], "bob": []}
    many = threading.Event()

    def label(url, name):
        # The server is killed while this waits for a reply.
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            while True:
                number = call(f"{url}api/next?labeler={name}")["prompt_id"]
                said = {"ranks": [1, 2], "scores": {"kind": [1, 5]}}
                call(f"{url}api/answer", said | {"labeler": name, "prompt_id": number})
                confirmed[name].append(number)
                if min(map(len, confirmed.values())) >= 10:
                    many.set()

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = next(m.group() for line in process.stdout if (m := re.search("http\\S+", line)))
            threads = [threading.Thread(target=label, args=(url, name)) for name in confirmed]
            for thread in threads:
                thread.start()
            assert many.wait(120)
        finally:
            process.kill()
        for thread in threads:
            thread.join()
    mend_feedback(out)
    records = read_feedback(out)
    study = Labeling.open(read_tasks(data), out)
    for name, numbers in confirmed.items():
        # One more may be on the disk whose confirmation did not arrive.
        saved = [r.prompt_id for r in records if (r.labeler, r.kind) == (name, "ranking")]
        assert saved[: len(numbers)] == numbers and len(saved) <= len(numbers) + 1
        assert len(set(saved)) == len(saved)
        assert study.next_task(name)["prompt_id"] == str(len(saved) + 1)
