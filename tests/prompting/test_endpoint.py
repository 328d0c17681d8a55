"""A model behind a service, against a small HTTP server that answers, fails and lies."""

import contextlib
import http.server
import json
import math
import threading

import pytest

from jaxrec.core import ConfigError
from jaxrec.prompting import (
    EndpointModel,
    EndpointOptions,
    GenerateOptions,
    Prices,
    Requester,
    RequestOptions,
    ServiceError,
    StoredModel,
    failure_counts,
)
from jaxrec.testing import scripted_service as service

openai = pytest.importorskip("openai")
OPTIONS = GenerateOptions(max_tokens=5)


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.now, self.slept = 0.0, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


def model_of(url, clock=None, **options):
    options = EndpointOptions(**{"requests": RequestOptions(at_once=1), **options})
    clock = clock or Clock()
    requester = Requester(options.requests, clock, clock.sleep)
    return EndpointModel("m", base_url=url, api_key="k", options=options, requester=requester)


def chat(*texts, reason="stop", usage=None):
    choices = [{"message": {"content": text}, "finish_reason": reason} for text in texts]
    return {"choices": choices, "usage": usage}


def test_a_chat_gets_the_prompt_the_options_and_its_price():
    usage = {"prompt_tokens": 30, "completion_tokens": 4}
    usage["prompt_tokens_details"] = {"cached_tokens": 10}
    with service(lambda request, _: chat("4, STOP more", "5", usage=usage)) as (url, asked):
        prices = Prices(prompt=1e6, completion=2e6, stored=1e5)
        model = model_of(url, system="Be brief.", prices=prices)
        options = GenerateOptions(
            max_tokens=5,
            n=2,
            temperature=0.7,
            top_p=0.9,
            top_k=3,
            seed=8,
            stop=(", STOP",),
            presence_penalty=0.5,
        )
        reply = model.generate(["2 + 2 ="], options)[0]
    assert reply.texts == ("4", "5") and reply.failure is None
    assert reply.usage.cost == pytest.approx(20 + 10 * 0.1 + 4 * 2)
    assert (reply.usage.shared_tokens, reply.usage.completion_tokens) == (10, 4)
    path, request = asked[0]
    assert path == "/v1/chat/completions"
    assert request.pop("messages") == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "2 + 2 ="},
    ]
    assert request == {
        "model": "m",
        "max_tokens": 5,
        "n": 2,
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 3,
        "seed": 8,
        "stop": [", STOP"],
        "presence_penalty": 0.5,
    }


def test_completions_get_the_text_itself_and_say_what_is_cut_short():
    def answer(request, _):
        return {"choices": [{"text": request["prompt"][::-1], "finish_reason": "length"}]}

    with service(answer) as (url, asked):
        model = model_of(url, kind="completions", requests=RequestOptions(at_once=3))
        replies = model.generate(["abc", "de", "f"], OPTIONS)
    assert [reply.text for reply in replies] == ["cba", "ed", "f"]
    assert replies[0].truncated == (True,)
    assert {path for path, _ in asked} == {"/v1/completions"}


def test_a_busy_service_is_asked_again_when_it_says():
    def answer(request, number):
        error = {"error": {"message": "slow down"}}
        return (429, error, {"Retry-After": "7"}) if number < 2 else chat("yes")

    clock = Clock()
    with service(answer) as (url, asked):
        assert model_of(url, clock).generate(["?"], OPTIONS)[0].text == "yes"
    assert clock.slept == [7.0, 7.0] and len(asked) == 3


def test_waits_double_and_end_in_an_error_that_counts_the_attempts():
    clock = Clock()
    requests = RequestOptions(retries=5, backoff=2.0, longest_wait=9.0, at_once=1)
    broken = service(lambda *_: (500, {"error": {"message": "broken"}}))
    message = "no answer .* after 6 attempts.*broken"
    with broken as (url, asked), pytest.raises(ServiceError, match=message):
        model_of(url, clock, requests=requests).generate(["?"], OPTIONS)
    assert len(asked) == 6
    for wait, most in zip(clock.slept, (2, 4, 8, 9, 9), strict=True):
        assert most / 2 <= wait <= most


def test_a_service_that_does_not_answer_in_time_is_asked_again():
    release = threading.Event()

    def answer(request, number):
        if number == 0:
            release.wait(10)
        return chat("late" if number == 0 else "yes")

    with service(answer) as (url, asked):
        requests = RequestOptions(timeout=0.2, at_once=1)
        assert model_of(url, requests=requests).generate(["?"], OPTIONS)[0].text == "yes"
        release.set()
    assert len(asked) == 2


def test_an_answer_that_drips_in_is_given_up():
    """Each byte arrives in time, but the whole answer does not."""
    body, asked = json.dumps(chat("4")).encode(), []

    class Dripping(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(self.rfile.read(int(self.headers["Content-Length"])))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                for place in range(len(body)):
                    self.wfile.write(body[place : place + 1])
                    self.wfile.flush()
                    stopped.wait(0.1)

        def log_message(self, *_):
            pass

    stopped = threading.Event()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Dripping)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/v1"
        model = model_of(url, requests=RequestOptions(at_once=1, timeout=0.5, retries=1))
        with pytest.raises(ServiceError, match=r"after 2 attempts; .* APITimeoutError"):
            model.generate(["2 + 2 ="], OPTIONS)
    finally:
        stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()
    assert len(asked) == 2


def test_a_service_that_is_not_there_is_an_error():
    with service(lambda *_: chat("")) as (url, _):
        pass
    with pytest.raises(ServiceError, match=r"after 2 attempts.*APIConnectionError"):
        model_of(url, requests=RequestOptions(retries=1)).generate(["?"], OPTIONS)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (401, "invalid_api_key", ServiceError),
        (404, "model_not_found", ServiceError),
        (429, "insufficient_quota", ServiceError),
        (400, "context_length_exceeded", ConfigError),
    ],
)
def test_what_waiting_cannot_help_is_an_error_at_once(status, code, error):
    body = {"error": {"message": "because", "code": code}}
    refused = service(lambda *_: (status, body))
    with refused as (url, asked), pytest.raises(error, match="because"):
        model_of(url).generate(["?"], OPTIONS)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        ("<html>oops</html>", "it is no JSON object"),
        ('{"choices": [', "it is no JSON object"),
        ([1, 2], "it is no JSON object"),
        ({}, "it has no choices"),
        ({"choices": []}, "it has 0 choices instead of 1"),
        ({"choices": [None]}, "a choice is no JSON object"),
        ({"choices": [{"message": {"content": None}}]}, "a choice has no text"),
        ({"choices": [{"message": "?"}]}, "its parts have wrong types"),
        (chat("x", reason="content_filter"), "the service's filter withheld a text"),
    ],
)
def test_an_unusable_answer_is_counted_and_ends_nothing(body, failure):
    with service(lambda _, number: body if number == 1 else chat("fine")) as (url, _):
        replies = model_of(url).generate(["a", "b", "c"], OPTIONS)
    assert [reply.text for reply in replies] == ["fine", "", "fine"]
    assert failure_counts(replies) == {failure: 1}


def test_a_rate_limit_spreads_the_requests():
    clock, times = Clock(), []

    def answer(*_):
        times.append(clock.now)
        return chat("yes")

    requests = RequestOptions(per_minute=30, at_once=1)
    with service(answer) as (url, _):
        model_of(url, clock, requests=requests).generate(["?"] * 4, OPTIONS)
    assert times == [0.0, 2.0, 4.0, 6.0]


def test_requests_wait_for_their_answers_at_the_same_time():
    barrier = threading.Barrier(3, timeout=10)

    def answer(*_):
        # Nobody is answered before all three have asked.
        barrier.wait()
        return chat("yes")

    with service(answer) as (url, _):
        requests = RequestOptions(at_once=3, retries=0)
        replies = model_of(url, requests=requests).generate(list("abc"), OPTIONS)
    assert [reply.text for reply in replies] == ["yes"] * 3


def echo(request, number):
    """Words as tokens; the n-th has the log-probability -n, and every other one is the best."""
    text = request["prompt"]
    words, offsets, place = text.split(" "), [], 0
    words = [words[0], *(" " + word for word in words[1:])]
    for word in words:
        offsets.append(place)
        place += len(word)
    logprobs = [None, *(-float(n) for n in range(1, len(words)))]
    best = [None, *({word if n % 2 else "other": -0.5} for n, word in enumerate(words[1:], 1))]
    said = {
        "tokens": [*words, "!"],
        "token_logprobs": [*logprobs, -9.0],
        "text_offset": [*offsets, place],
        "top_logprobs": [*best, {"!": -9.0}],
    }
    return {"choices": [{"text": text + "!", "logprobs": said}], "usage": {"prompt_tokens": 7}}


def test_scores_are_those_of_the_echoed_tokens():
    with service(echo) as (url, asked):
        model = model_of(url, kind="completions")
        scores = model.score(["the sum of ", "one"], [["two", "two three"], [" more"]])
        text = model.score_text(["a b c"])[0]
    assert [score.logprob for score in scores[0]] == [-3.0, -7.0]
    assert [score.greedy for score in scores[0]] == [True, False]
    assert [score.tokens for score in scores[0]] == [1, 2]
    assert (scores[1][0].logprob, scores[1][0].usage.prompt_tokens) == (-1.0, 7)
    # The first token of a text follows nothing.
    assert text.logprobs == (-1.0, -2.0)
    request = asked[0][1]
    assert request["echo"] is True and request["logprobs"] == 1


def said(logprobs):
    return {"choices": [{"text": "x", "logprobs": logprobs}]}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (chat("x"), "its logprobs are missing or empty"),
        (said(None), "its logprobs are missing or empty"),
        (said({"content": []}), "its logprobs lack tokens, token_logprobs or text_offset"),
        (
            said({"tokens": ["a", " b"], "token_logprobs": [None], "text_offset": [0, 1]}),
            "have wrong types or lengths",
        ),
        (
            said({"tokens": ["a", " b"], "token_logprobs": [0, "x"], "text_offset": [0, 1]}),
            "have wrong types or lengths",
        ),
        (
            said({"tokens": ["a", " b"], "token_logprobs": [0, math.nan], "text_offset": [0, 1]}),
            "the log-probability nan of a token is no number",
        ),
        ("no", "it is no JSON object"),
    ],
)
def test_a_service_without_log_probabilities_is_an_error_that_says_why(body, why):
    with service(lambda *_: body) as (url, _):
        message = rf"no log-probabilities of an echoed prompt, which scores need \([\w, ]*{why}\)"
        with pytest.raises(ConfigError, match=message):
            model_of(url, kind="completions").score(["a"], [[" b"]])
        with pytest.raises(ConfigError, match="kind='completions'"):
            model_of(url).score(["a"], [[" b"]])
        with pytest.raises(ConfigError, match="no log-probabilities"):
            model_of(url, kind="completions").score_text(["a b"])


def test_what_cannot_be_asked_is_an_error(monkeypatch):
    model = model_of("http://127.0.0.1:9/v1", kind="completions")
    with pytest.raises(ConfigError, match="tokenizer of m is unknown"):
        model.count_tokens(["a"])
    with pytest.raises(ConfigError, match="got one text"):
        model.generate("a", OPTIONS)
    with pytest.raises(ConfigError, match="1 prompts need 1 rows"):
        model.score(["a"], [])
    with pytest.raises(ConfigError, match="empty continuation"):
        model.score(["a"], [[""]])
    with pytest.raises(ConfigError, match="needs a chat"):
        EndpointOptions(kind="completions", system="Be brief.")
    with pytest.raises(ConfigError, match="kind must be one of chat, completions"):
        EndpointOptions(kind="text")
    with pytest.raises(ConfigError, match=r"requests.timeout must be"):
        RequestOptions(timeout=0)
    with pytest.raises(ConfigError, match=r"prices.prompt must"):
        Prices(prompt=-1)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        EndpointModel("m")


def test_a_failed_question_ends_those_that_wait():
    refused = service(lambda *_: (401, {"error": {"message": "no"}}))
    with refused as (url, asked), pytest.raises(ServiceError):
        model_of(url).generate(["?"] * 50, OPTIONS)
    assert len(asked) < 50


@pytest.mark.parametrize("recorded_usage", [True, False])
@pytest.mark.parametrize("kind", ["chat", "completions"])
def test_answers_beside_a_failing_request_are_kept_and_paid_once(kind, recorded_usage, tmp_path):
    answered, usage = [], {"prompt_tokens": 5, "completion_tokens": 1}

    def answer(request, number):
        if number % 3 == 2:
            return 500, {"error": {"message": "busy"}}
        answered.append(json.dumps(request))
        return (chat("yes") if kind == "chat" else echo(request, number)) | {"usage": usage}

    def ask(model):
        if kind == "chat":
            return model.generate([f"p{n}" for n in range(10)], OPTIONS)
        return [score for row in model.score(["a ", "b "], [list("vwxyz")] * 2) for score in row]

    with service(answer) as (url, asked):
        options = {"kind": kind, "requests": RequestOptions(at_once=4, retries=0)}
        options["prices"] = Prices(prompt=1e6, completion=0)
        model = StoredModel(
            model_of(url, **options), tmp_path / "a.jsonl", chunk=4, recorded_usage=recorded_usage
        )
        failures = 0
        while True:
            try:
                found = ask(model)
                break
            except ServiceError as error:
                failures += 1
                assert "busy" in str(error)
    assert failures > 1 and len(answered) == len(set(answered)) == 10
    assert len(asked) > 10
    # What was paid in the calls that failed is reported with the answers.
    assert sum(one.usage.cost for one in found) == 50


@pytest.mark.parametrize("address", ["localhost:8000/v1", "", "ftp://a/v1"])
def test_an_address_without_http_is_rejected_before_a_request(address):
    with pytest.raises(ConfigError, match=f"must begin with http.*got '{address}'"):
        EndpointModel("m", base_url=address, api_key="none")


def test_a_service_that_is_not_there_is_named_by_its_address():
    options = EndpointOptions(kind="completions", requests=RequestOptions(retries=0))
    model = EndpointModel("m", base_url="http://127.0.0.1:1/v1", api_key="none", options=options)
    with pytest.raises(ServiceError, match=r"no answer from http://127.0.0.1:1/v1/completions"):
        model.generate(["a"], OPTIONS)


def test_a_closed_model_keeps_no_connection_and_asks_nothing():
    with service(lambda *_: chat("yes")) as (url, asked):
        with model_of(url) as model:
            assert model.generate(["?"], OPTIONS)[0].texts == ("yes",)
        with pytest.raises((RuntimeError, ServiceError)):
            model.generate(["?"], OPTIONS)
    assert len(asked) == 1
