"""The application that all services share, asked without a network."""

import asyncio
import json

import pytest

pytest.importorskip("prometheus_client", reason="needs the extra serve")

from fastapi import APIRouter, Request
from fastapi.responses import Response

from jaxrec.core import ConfigError
from jaxrec.serve import (
    Closed,
    Metrics,
    QueueFull,
    RequestError,
    ServiceOptions,
    ServiceState,
    make_service,
    to_body,
)


def call(app, path, method="GET", body=b"", headers=()):
    """Return status, headers and body of an answer."""
    told = [(b"host", b"localhost"), (b"content-length", str(len(body)).encode()), *headers]
    scope = {"type": "http", "method": method, "path": path, "headers": told, "query_string": b""}
    sent = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    raw = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), raw


@pytest.fixture
def parts():
    """An application with a route that does what its body says, its state, and its log."""
    router, ready, log = APIRouter(), [False], []
    errors = {
        "full": QueueFull("8 wait"),
        "closed": Closed("the service ends"),
        "mine": RequestError("x must be 1", param="x", code="wrong"),
        "bug": KeyError("secret"),
    }

    @router.post("/do/{what}")
    async def do(request: Request, what: str) -> Response:
        given = await state.body(request)
        if what in errors:
            raise errors[what]
        return Response(to_body(given), media_type="application/json")

    state = ServiceState(lambda: ready[0], ServiceOptions(max_body=50), Metrics())
    return make_service([router], state, log=log.append), state, ready, log


JSON = [(b"content-type", b"application/json")]


def test_readiness_follows_start_and_end(parts):
    app, state, ready, _ = parts
    assert call(app, "/readyz")[::2] == (503, b'{"status":"starting"}')
    assert call(app, "/healthz")[0] == 200
    ready[0] = True
    status, headers, body = call(app, "/readyz")
    assert (status, body) == (200, b'{"status":"ready"}') and b"connection" not in headers
    state.ending = True
    status, headers, body = call(app, "/readyz")
    assert (status, body, headers[b"connection"]) == (503, b'{"status":"ending"}', b"close")


@pytest.mark.parametrize(
    ("what", "status", "kind", "words"),
    [
        ("full", 429, "rate_limit_error", "8 wait"),
        ("closed", 503, "server_error", "the service ends"),
        ("mine", 400, "invalid_request_error", "x must be 1"),
        ("bug", 500, "server_error", "its log has the request's ID"),
    ],
)
def test_errors_have_the_form_of_openai(parts, what, status, kind, words):
    app, _, _, log = parts
    found, headers, body = call(app, f"/do/{what}", "POST", b"{}", JSON)
    error = json.loads(body)["error"]
    assert (found, error["type"]) == (status, kind) and words in error["message"]
    assert (b"retry-after" in headers) == (status in (429, 503))
    assert headers[b"x-request-id"].decode() == log[0]["request"]
    assert log[0]["status"] == status and log[0]["route"] == "/do/{what}"
    assert "secret" not in json.dumps(log) and "secret" not in body.decode()


def test_an_id_of_the_client_is_kept_if_it_is_a_plain_word(parts):
    app, *_ = parts
    for given, kept in ((b"abc-1.2_3", True), (b"a b", False), (b"x" * 65, False), (b'{"', False)):
        headers = call(app, "/healthz", headers=[(b"x-request-id", given)])[1]
        assert (headers[b"x-request-id"] == given) == kept


def test_metrics_count_by_route_and_never_by_what_clients_make_up(parts):
    app, state, *_ = parts
    for path in ("/do/a", "/do/b", "/made/up/1", "/made/up/2"):
        call(app, path, "POST", b"{}", JSON)
    state.metrics.tokens(7, 5)
    state.metrics.batch(3, 0.1)
    text = call(app, "/metrics")[2].decode()
    assert 'jaxrec_requests_total{route="/do/{what}",status="200"} 2.0' in text
    assert 'jaxrec_requests_total{route="other",status="404"} 2.0' in text
    assert 'jaxrec_tokens_total{kind="prompt"} 7.0' in text
    assert "jaxrec_batch_rows_sum 3.0" in text
    assert "jaxrec_requests_running 1.0" in text  # the one that asks
    assert "made" not in text


def test_bodies_are_limited_by_what_is_sent(parts):
    app, *_ = parts
    assert call(app, "/do/a", "POST", b'{"a":1}', JSON)[::2] == (200, b'{"a":1}')
    assert call(app, "/do/a", "POST", b'{"a":"' + b"x" * 50 + b'"}', JSON)[0] == 413


def test_options_are_checked():
    with pytest.raises(ConfigError, match="max_body"):
        ServiceOptions(max_body=0)
