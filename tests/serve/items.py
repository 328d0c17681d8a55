"""A recommendation service that is served by threads of the test, and requests to it."""

import contextlib
import http.client
import json

import numpy as np

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


def check_engine(model, calls, top=5):
    """Check that an engine gives the lists of `recommend`, and compiles nothing after its warm-up.

    Args:
      model: an open run.
      calls: arguments of `OpenRecommender.asked`.
      top: length of the lists.
    """
    from jaxrec.core import CompileCounter
    from jaxrec.serve import RecommendEngine, RecommendShapes, ServedCatalogue

    wanted = [model.recommend(**call, top=top) for call in calls]
    catalogue = ServedCatalogue.of(model, "first", SIZES)
    engine = RecommendEngine(
        catalogue, RecommendShapes(batch_sizes=SIZES, most_top=10, excluded=16)
    )
    engine.warm_up()
    with CompileCounter() as counter:
        for call, lists in zip(calls, wanted, strict=True):
            found = {}
            asked, length = model.asked(**call), engine.length_of(top)
            rows = engine.rows_of(catalogue, asked, length, found.__setitem__)
            for bucket in {row.bucket for row in rows}:
                list(engine.run(bucket, [row for row in rows if row.bucket == bucket]))
            for row, (items, scores) in found.items():
                assert items[:top].tolist() == lists.numbers[row].tolist()
                np.testing.assert_allclose(scores[:top], lists.scores[row], rtol=1e-4)
            assert len(found) == len(asked)
    assert counter.count == 0


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
