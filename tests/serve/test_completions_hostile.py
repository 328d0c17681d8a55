"""Requests that are wrong, hostile or cut off: a message each, and no effect on others."""

import http.client
import json
import socket
import threading
import time

import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.serve import BatchingOptions, TextShapes, parse_body, read_completion, read_keys

GOOD = {"model": "tiny", "prompt": "one", "max_tokens": 2, "temperature": 0}


def send(service, path, body, *, method="POST", headers=(), kind="application/json"):
    """Send raw bytes; return the status and the parsed answer."""
    connection = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=30)
    try:
        connection.request(method, path, body, {"Content-Type": kind, **dict(headers)})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def connected(service):
    host, port = service.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)))


def refused(service, body, *words, status=400, path="/v1/completions", param=None, **options):
    """Check that a request is refused with words, in the form of OpenAI's errors."""
    raw = json.dumps(body).encode() if isinstance(body, dict) else body
    found, answer = send(service, path, raw, **options)
    error = answer["error"]
    assert (found, set(error)) == (status, {"message", "type", "param", "code"}), answer
    assert error["type"].endswith("_error") and len(error["message"]) < 400
    assert all(word in error["message"] for word in words), error["message"]
    assert param is None or error["param"] == param


@pytest.fixture(autouse=True)
def others_are_served(text_service):
    """After every hostile request a good one is answered."""
    yield
    assert send(text_service, "/v1/completions", json.dumps(GOOD))[0] == 200
    assert text_service.batcher.failure is None


@pytest.mark.parametrize(
    ("change", "param", "words"),
    [
        ({"model": None}, "model", ["missing"]),
        ({"model": "other"}, "model", ["no model 'other'", "'tiny'"]),
        ({"model": 3}, "model", ["got 3"]),
        ({"prompt": []}, "prompt", ["list of"]),
        ({"prompt": ["a", 1]}, "prompt", ["part 1 is 1"]),
        ({"prompt": [[]]}, "prompt", ["part 0 is []"]),
        ({"prompt": [[1, True]]}, "prompt", ["part 0"]),
        ({"prompt": [1, 10**6]}, "prompt", ["token 1000000"]),
        ({"prompt": [-1]}, "prompt", ["token -1"]),
        ({"prompt": "\ud800"}, "prompt", ["half a character"]),
        ({"prompt": "x" * 70}, "prompt", ["70 tokens", "at most 64"]),
        ({"prompt": "x" * 10**6}, "prompt", ["1000000 characters"]),
        ({"prompt": ["a"] * 129}, "prompt", ["129 choices", "at most 128"]),
        ({"prompt": ["a"] * 2, "n": 65}, "n", ["130 choices"]),
        ({"n": 0}, "n", ["got 0"]),
        ({"n": True}, "n", ["got True"]),
        ({"n": 1.5}, "n", ["got 1.5"]),
        ({"max_tokens": -1}, "max_tokens", ["got -1"]),
        ({"max_tokens": 25}, "max_tokens", ["at most 24"]),
        ({"max_tokens": 2**70}, "max_tokens", ["max_tokens"]),
        ({"temperature": 2.1}, "temperature", ["got 2.1"]),
        ({"temperature": "hot"}, "temperature", ["'hot'"]),
        ({"top_p": -0.1}, "top_p", ["got -0.1"]),
        ({"seed": 2**63}, "seed", ["seed"]),
        ({"stop": ["a"] * 5}, "stop", ["5 strings", "at most 4"]),
        ({"stop": [""]}, "stop", ["1 to 256"]),
        ({"stop": [1]}, "stop", ["list of strings"]),
        ({"logprobs": 6}, "logprobs", ["got 6"]),
        ({"logprobs": True}, "logprobs", ["got True"]),
        ({"stream": "yes"}, "stream", ["'yes'"]),
        ({"stream_options": {"include_usage": True}}, "stream_options", ["stream true"]),
        ({"suffix": "end"}, "suffix", ["suffix is not supported"]),
        ({"best_of": 3}, "best_of", ["best_of is not supported"]),
        ({"logit_bias": {"5": 1}}, "logit_bias", ["not supported"]),
        ({"temprature": 1}, "temprature", ["no parameter temprature"]),
        ({"self": 1}, "self", ["no parameter self"]),
    ],
)
def test_a_wrong_parameter_is_named(text_service, change, param, words):
    status = 404 if change == {"model": "other"} else 400
    refused(text_service, GOOD | change, *words, param=param, status=status)


@pytest.mark.parametrize(
    ("change", "param", "words"),
    [
        ({"messages": []}, "messages", ["at least one"]),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages[0].role", ["'tool'"]),
        ({"messages": [{"role": "user"}]}, "messages[0].content", ["must be a text"]),
        ({"messages": ["hi"]}, "messages[0]", ["'hi'"]),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content",
            ["'image_url'"],
        ),
        ({"messages": [{"role": "user", "content": "a", "name": "b"}]}, "messages[0]", ["name"]),
        ({"messages": [{"role": "user", "content": "x" * 99}]}, "messages", ["the chat has"]),
        ({"tools": [{"type": "function"}]}, "tools", ["tools is not supported"]),
        ({"response_format": {"type": "json_object"}}, "response_format", ["not supported"]),
        ({"top_logprobs": 2}, "top_logprobs", ["logprobs true"]),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", ["21"]),
        ({"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens", ["differ"]),
        ({"max_tokens": 0}, "max_tokens", ["got 0"]),
        ({"prompt": "a"}, "prompt", ["no parameter prompt"]),
    ],
)
def test_a_wrong_parameter_of_a_chat_is_named(text_service, change, param, words):
    body = {"model": "tiny", "messages": [{"role": "user", "content": "a"}]} | change
    refused(text_service, body, *words, param=param, path="/v1/chat/completions")


def test_what_changes_no_answer_may_be_sent():
    neutral = {"user": "me", "metadata": {"a": "b"}, "best_of": 1, "suffix": None, "logit_bias": {}}
    assert read_completion(GOOD | neutral) == read_completion(GOOD)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", ["not JSON"]),
        (b"{", ["not JSON", "column"]),
        (b"\xff\xfe", ["not UTF-8"]),
        (b"[1]", ["JSON object, got list"]),
        (b'{"temperature": NaN}', ["NaN"]),
        (b'{"temperature": -Infinity}', ["-Infinity"]),
        (b'{"model": "tiny", "temperature": 1e999}', ["temperature"]),
        (b'{"n": ' + b"9" * 5000 + b"}", ["too many digits"]),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, ["levels"]),
        (b'{"prompt":' + b"[" * 100_000 + b"]" * 100_000 + b"}", ["levels"]),
        (b'{"n": 1, "n": 2}', ["'n' twice"]),
    ],
)
def test_a_body_that_is_no_json_is_refused(text_service, body, words):
    refused(text_service, body, *words)


def test_bodies_have_a_limit(text_service):
    big = b'{"prompt": "' + b"x" * (100 << 20) + b'"}'
    refused(text_service, big, "at most 4194304 bytes", status=413)
    pieces = (big[start : start + (1 << 20)] for start in range(0, 8 << 20, 1 << 20))
    refused(text_service, pieces, "at most 4194304 bytes", status=413)
    # Nobody reads the body of a request to a path that is none.
    refused(text_service, big, "nothing at this path", path="/v1/other", status=404)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/../../etc/passwd",
        "/v1/models/..%2f..%2fetc%2fpasswd",
        "//etc/passwd",
        "/v1/" + "a" * 9000,
    ],
)
def test_paths_lead_nowhere(text_service, path):
    refused(text_service, b"", status=404, path=path, method="GET")


def test_other_methods_types_and_hosts_are_refused(text_service):
    refused(text_service, b"", "method", status=405, method="GET")
    refused(text_service, GOOD, "application/json", status=415, kind="text/plain")
    refused(text_service, GOOD, "Host", headers={"Host": "evil.example"})
    status, _ = send(text_service, "/v1/completions", json.dumps(GOOD), headers={"Host": "[::1]:1"})
    assert status == 200


def test_a_client_that_stops_in_its_body_blocks_nobody(tiny_text, text_service, serve_text):
    options = {"engine": text_service.engine, "body_seconds": 0.3}
    with serve_text(tiny_text, **options) as service, connected(service) as half:
        half.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
        )
        assert send(service, "/v1/completions", json.dumps(GOOD))[0] == 200
        half.settimeout(10)
        assert half.recv(100).startswith(b"HTTP/1.1 408 ")


def test_a_client_may_ask_before_it_sends_a_body(text_service):
    with connected(text_service) as asking:
        asking.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
            b"Content-Type: application/json\r\nContent-Length: 100000000\r\n\r\n"
        )
        asking.settimeout(10)
        assert asking.recv(100).startswith(b"HTTP/1.1 413 ")


def test_an_error_in_the_middle_of_a_stream_is_an_event(tiny_text, text_service, serve_text):
    engine = text_service.engine
    run = engine.run

    def fail_later(bucket, jobs):
        steps = run(bucket, jobs)
        yield next(steps)
        raise RuntimeError("secret")

    with serve_text(tiny_text, engine=engine) as service:
        engine.run = fail_later
        try:
            body = json.dumps(GOOD | {"stream": True, "max_tokens": 20, "prompt": "one word"})
            connection = http.client.HTTPConnection(service.url.removeprefix("http://"))
            connection.request(
                "POST", "/v1/completions", body, {"Content-Type": "application/json"}
            )
            events = connection.getresponse().read().decode().split("\n\n")
            connection.close()
        finally:
            engine.run = run
    *_, failure, done, rest = events
    assert (done, rest) == ("data: [DONE]", "")
    assert json.loads(failure.removeprefix("data: "))["error"]["type"] == "server_error"
    assert "secret" not in failure


def test_a_full_queue_says_try_again(tiny_text, text_service, serve_text):
    batching = BatchingOptions(queue=2, wait=0.0)
    with serve_text(tiny_text, engine=text_service.engine, batching=batching) as service:
        body = GOOD | {"n": 3, "temperature": 1}
        refused(service, body, "try again", status=429)
        assert send(service, "/v1/completions", json.dumps(GOOD))[0] == 200


def test_keys_are_asked_for_everywhere_but_in_health_checks(
    tiny_text, text_service, serve_text, tmp_path
):
    path = tmp_path / "keys"
    path.write_text("# ours\ncorrect-horse\nbattery-staple\n")
    with serve_text(tiny_text, engine=text_service.engine, keys=read_keys(path)) as service:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "correct-horse"}):
            for where in ("/v1/completions", "/v1/nothing"):
                refused(service, GOOD, "key", status=401, path=where, headers=headers)
        refused(service, b"", "key", status=401, path="/metrics", method="GET")
        for where in ("/healthz", "/readyz"):
            assert send(service, where, b"", method="GET")[0] == 200
        right = {"Authorization": "Bearer battery-staple"}
        assert send(service, "/v1/completions", json.dumps(GOOD), headers=right)[0] == 200


def test_bad_files_of_keys_are_refused(tmp_path):
    path = tmp_path / "keys"
    with pytest.raises(DataError, match="cannot be read"):
        read_keys(path)
    path.write_text("\n# none\n")
    with pytest.raises(DataError, match="has no key"):
        read_keys(path)
    path.write_text("short\n")
    with pytest.raises(ConfigError, match="key 1 must have at least 8"):
        read_keys(path)


def test_an_error_in_a_batch_is_a_500_without_its_message(
    tiny_text, text_service, serve_text, monkeypatch
):
    from jaxrec.serve import TextEngine

    shapes = TextShapes(prompt_lengths=(64,), answer_lengths=(24,), batch_sizes=(4,), chunk=4)
    engine = TextEngine(tiny_text, shapes)

    def run(bucket, jobs):
        raise RuntimeError(f"the prompt was {jobs[0].tokens}")

    with serve_text(tiny_text, engine=engine) as service:
        monkeypatch.setattr(engine, "run", run)
        refused(service, GOOD, "its log has the request's ID", status=500)
        # The line is written after the answer.
        deadline = time.monotonic() + 10
        while not service.log and time.monotonic() < deadline:
            time.sleep(0.01)
        assert service.log[-1]["error"].startswith("RuntimeError at ")
        monkeypatch.undo()
        assert send(service, "/v1/completions", json.dumps(GOOD))[0] == 200


def test_json_is_read_strictly():
    assert parse_body(b'{"a": [1, null, "\\u00e9"]}') == {"a": [1, None, "\u00e9"]}


def test_draining_finishes_what_was_begun(tiny_text, text_service, serve_text):
    answers, begun = [], threading.Barrier(7)
    with serve_text(tiny_text, engine=text_service.engine) as service:

        def ask(number):
            body = GOOD | {"n": 40, "temperature": 1, "seed": number, "max_tokens": 24}
            begun.wait()
            answers.append(send(service, "/v1/completions", json.dumps(body)))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        begun.wait()
        while not service.batcher.waiting:
            time.sleep(0.001)
        service.server.end()
        assert not service.state.ready
        for thread in (*threads, service.thread):
            thread.join(30)
        assert not service.thread.is_alive()
        with pytest.raises(OSError):
            send(service, "/healthz", b"", method="GET")
    # A request that came after the end of listening got no connection, and none was cut off.
    assert len(answers) == 6
    assert all(status == 200 and len(body["choices"]) == 40 for status, body in answers)
