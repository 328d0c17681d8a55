"""A recommendation service that is served by threads of the test, and requests to it."""

import contextlib
import http.client
import json

from .running import running

SIZES = (1, 4)


@contextlib.contextmanager
def serving_items(
    model,
    *,
    engine=None,
    room=0.0,
    sizes=SIZES,
    cache=0,
    groups=0,
    batching=None,
    service=None,
    **options,
):
    """Serve an open run; yield its address, its parts and the log."""
    from jaxrec import serve

    metrics, log = serve.Metrics(), []
    if engine is None:
        shapes = serve.RecommendShapes(batch_sizes=sizes, most_top=10, excluded=16, groups=groups)
        catalogue = serve.ServedCatalogue.of(model, "first", sizes, room=room)
        kept = serve.HistoryCache(catalogue.ranker, cache, sizes[-1]) if cache else None
        engine = serve.RecommendEngine(catalogue, shapes, kept, metrics.cache)
    batcher = serve.Batcher(engine, batching or serve.BatchingOptions(), observe=metrics.batch)
    state = serve.ServiceState(lambda: batcher.ready, serve.ServiceOptions(**options), metrics)
    parts = serve.RecommendService(engine=engine, batcher=batcher, state=state, **(service or {}))
    app = serve.make_service([serve.recommend_router(parts)], state, log=log.append)
    drain = serve.DrainOptions(0.0, 20.0)
    with running(app, state, batcher, engine, log, drain) as served:
        yield served


def send(service, path, body=b"", *, method="POST", key=None, kind="application/json"):
    """Send a request; return the status and the parsed answer."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": kind} | ({"Authorization": f"Bearer {key}"} if key else {})
    connection = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=60)
    try:
        connection.request(method, path, raw, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def ask(service, **body):
    """Ask for recommendations, which must be given."""
    status, answer = send(service, "/v1/recommend", body)
    assert status == 200, answer
    return answer


def refused(service, body, *words, status=400, path="/v1/recommend", param=None, **options):
    """Check that a request is refused with words, in the form of all errors."""
    found, answer = send(service, path, body, **options)
    error = answer["error"]
    assert (found, set(error)) == (status, {"message", "type", "param", "code"}), answer
    assert len(error["message"]) < 700
    assert all(word in error["message"] for word in words), error["message"]
    assert param is None or error["param"] == param, error
