"""Several processes behind one port: one answer from all, and no request lost when they end."""

import collections
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import types

import pytest

import jaxrec
from jaxrec.core import ResourceError
from jaxrec.serve import Together, together

from .items import send
from .runs import generative_run

pytest.importorskip("prometheus_client", reason="needs the extra serve")
pytest.importorskip("uvicorn", reason="needs the extra serve")
KEY, ADMIN = "an-ordinary-key", "a-key-of-an-administrator"


def test_a_catalogue_reaches_every_process_that_answers(tmp_path, monkeypatch):
    shared = Together(3, tmp_path)
    one, two, _ = (shared.of(number) for number in range(3))
    taken = collections.defaultdict(list)
    one.set_ready()
    two.set_ready()
    assert not one.all_ready  # the third one is still compiling
    two.take(taken[2].append)
    assert taken[2] == []
    with one.alone():
        one.publish(b"first")
        thread = threading.Thread(target=lambda: (time.sleep(0.2), two.take(taken[2].append)))
        thread.start()
        one.wait()  # for the second process, and not for the third one
        assert taken[2] == [b"first"]
        thread.join()
    # Whoever missed some takes the last one alone.
    two.publish(b"second")
    one.publish(b"third")
    late = shared.of(2)
    late.take(taken[3].append)
    assert taken[3] == [b"third"]
    monkeypatch.setattr(together, "_LONGEST", 0.1)
    with pytest.raises(ResourceError, match="not every process"):
        one.wait()
    one.forget(1)
    one.wait()
    two.take(taken[4].append)  # the process that takes the place of the second one
    assert taken[4] == [b"third"]
    one.forget(1)
    two.take(taken[5].append)  # another one, which has nothing either
    assert taken[5] == [b"third"]


def test_two_processes_do_not_swap_at_once(tmp_path):
    shared, order = Together(2, tmp_path), []

    def other():
        with shared.of(1).alone():
            order.append("other")

    with shared.of(0).alone():
        thread = threading.Thread(target=other)
        thread.start()
        time.sleep(0.2)
        order.append("mine")
    thread.join()
    assert order == ["mine", "other"]


@contextlib.contextmanager
def processes(run, directory, *more):
    """A service of two processes; yield its address, its first process and its files."""
    files = directory / "catalogues"
    files.mkdir()
    (directory / "keys").write_text(KEY)
    (directory / "admins").write_text(ADMIN)
    command = [sys.executable, "-m", "jaxrec.cli.main", "serve", str(run), "--port", "0"]
    options = ["--workers", "2", "--batch-sizes", "1", "--catalogue-dir", str(files)]
    keys = [
        "--api-key-file",
        str(directory / "keys"),
        "--admin-key-file",
        str(directory / "admins"),
    ]
    with open(directory / "log", "w") as log:
        process = subprocess.Popen(
            [*command, *options, *keys, *more], stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        url = process.stdout.readline().split()[0].removesuffix("/v1")
        yield types.SimpleNamespace(url=url, process=process, files=files, log=directory / "log")
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(60)
        finally:
            process.kill()
            process.communicate()


def until_ready(service, answer=200):
    deadline = time.monotonic() + 300
    while True:
        assert time.monotonic() < deadline and service.process.poll() is None
        with contextlib.suppress(OSError, json.JSONDecodeError):
            if send(service, "/readyz", method="GET")[0] == answer:
                return
        time.sleep(0.05)


def children(process):
    """The processes that answer, by what the first one started."""
    listing = subprocess.run(
        ["ps", "--ppid", str(process.pid), "-o", "pid=,args="],
        text=True,
        capture_output=True,
        check=True,
    ).stdout
    return [int(line.split()[0]) for line in listing.splitlines() if "spawn_main" in line]


def metric(service, name):
    import urllib.request

    request = urllib.request.Request(
        service.url + "/metrics", headers={"Authorization": f"Bearer {KEY}"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read().decode()
    rows = re.findall(rf"^{name}(?:{{[^}}]*}})? ([0-9.e+]+)$", text, re.MULTILINE)
    return sum(map(float, rows))


@pytest.mark.slow
def test_processes_answer_swap_come_back_and_end_together(tmp_path):
    run = generative_run(tmp_path)[1]
    model = jaxrec.open(run)
    wanted = model.recommend(users=["u003"], top=3).items[0].tolist()
    with processes(run, tmp_path) as service:
        until_ready(service)
        body = {"users": ["u003"], "top": 3}

        def ask():
            status, answer = send(service, "/v1/recommend", body, key=KEY)
            assert status == 200, answer
            return answer

        for _ in range(20):
            assert [x["item"] for x in ask()["lists"][0]["items"]] == wanted
        # Whoever is asked shows the requests of all.
        route = "jaxrec_requests_total"
        assert {metric(service, route) >= 20 for _ in range(6)} == {True}

        # After the answer to a swap, no process answers by an earlier version.
        removed = wanted[:1]
        (service.files / "next.json").write_text(json.dumps({"removed": removed}))
        (service.files / "bad.json").write_text(json.dumps({"removed": ["nothing"]}))
        put = {"path": "/v1/catalogue", "method": "PUT", "key": ADMIN}
        status, facts = send(service, body={"file": "next.json"}, **put)
        assert (status, facts["removed"]) == (200, 1), facts
        answers = [ask() for _ in range(40)]
        assert {answer["catalogue"] for answer in answers} == {facts["version"]}
        assert removed[0] not in str(answers)
        assert send(service, body={"file": "bad.json"}, **put)[0] == 400
        assert {ask()["catalogue"] for _ in range(40)} == {facts["version"]}

        # A process that dies is started again, with the catalogue of the others.
        (first, second) = children(service.process)
        os.kill(first, signal.SIGKILL)
        until_ready(service, 503)
        assert ask()["catalogue"] == facts["version"]
        until_ready(service)
        again = children(service.process)
        assert second in again and first not in again and len(again) == 2
        assert {ask()["catalogue"] for _ in range(40)} == {facts["version"]}
        os.kill(second, signal.SIGKILL)
        until_ready(service, 503)
        until_ready(service)  # both are new
        assert {ask()["catalogue"] for _ in range(40)} == {facts["version"]}

        # Requests that have begun are finished.
        found, stop = collections.Counter(), threading.Event()

        def client():
            while not stop.is_set():
                try:
                    found[send(service, "/v1/recommend", body, key=KEY)[0]] += 1
                except ConnectionRefusedError:
                    return
                except OSError:
                    found["lost"] += 1
                    return

        threads = [threading.Thread(target=client) for _ in range(6)]
        for thread in threads:
            thread.start()
        time.sleep(1.0)
        service.process.send_signal(signal.SIGTERM)
        service.process.wait(60)
        stop.set()
        for thread in threads:
            thread.join()
    assert service.process.returncode == 0, service.log.read_text()
    assert set(found) == {200} and found[200] > 10, found


@pytest.mark.slow
def test_no_process_outlives_the_first_one(tmp_path):
    run = generative_run(tmp_path)[1]
    with processes(run, tmp_path) as service:
        until_ready(service)
        started = children(service.process)
        service.process.kill()
        deadline = time.monotonic() + 30
        while any(os.path.exists(f"/proc/{number}") for number in started):
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.slow
def test_a_mistake_is_one_line_and_no_process_is_left(tmp_path):
    run = generative_run(tmp_path)[1]
    with processes(run, tmp_path, "--diversity-groups", "1") as service:
        assert service.process.wait(120) == 2
        (line,) = service.log.read_text().splitlines()
        assert line.startswith("jaxrec serve: shapes.groups is 1")


SCRIPT = """
from jaxrec.serve import (
    DrainOptions, ServiceState, listen, make_service, run_service, run_workers,
)

DRAIN = DrainOptions(0.3, 20.0)


def serve(options, worker):
    state = ServiceState(lambda: True)
    worker.together.set_ready()
    together = worker.together
    run_service(make_service([], state), state, worker.listener, DRAIN, lambda: together.ending)


if __name__ == "__main__":
    with listen("127.0.0.1", 0) as listener:
        print(listener.getsockname()[1], flush=True)
        run_workers(2, serve, None, listener, DRAIN)
"""


@pytest.mark.slow
def test_ctrl_c_reaches_all_processes_of_a_terminal_and_loses_nothing(tmp_path):
    (tmp_path / "service.py").write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "service.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    found, stop = collections.Counter(), threading.Event()
    try:
        url = f"http://127.0.0.1:{int(process.stdout.readline())}"
        service = types.SimpleNamespace(url=url, process=process)
        until_ready(service)

        def client():
            while not stop.is_set():
                try:
                    found[send(service, "/healthz", method="GET")[0]] += 1
                except ConnectionRefusedError:
                    return
                except OSError as error:
                    found[repr(error)] += 1
                    return

        threads = [threading.Thread(target=client) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(1.0)
        # As a terminal does it: every process of the group gets the signal.
        os.killpg(process.pid, signal.SIGINT)
        _, log = process.communicate(timeout=60)
        stop.set()
        for thread in threads:
            thread.join()
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, log
    assert set(found) == {200} and found[200] > 10, found
    assert "Traceback" not in log
