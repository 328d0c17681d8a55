"""Services that are served by threads of the test: a labeling page, and a tiny text model."""

import contextlib
import dataclasses
import threading
import time

import pytest

from .items import serving_items
from .running import running
from .runs import generative_run


@pytest.fixture
def serving():
    """Return a context manager: study -> address at which it is served."""
    uvicorn = pytest.importorskip("uvicorn", reason="needs the extra serve")
    from jaxrec.serve import make_app
    from jaxrec.serve.labeling_app import listen

    @contextlib.contextmanager
    def serve(study):
        listener = listen("127.0.0.1", 0)
        config = uvicorn.Config(make_app(study), log_level="warning", ws="none", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.005)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
            listener.close()

    return serve


@pytest.fixture(scope="session")
def item_run(tmp_path_factory):
    """A run of the generative recommender that many tests serve; none of them changes it."""
    return generative_run(tmp_path_factory.mktemp("items"))[1]


ADMIN_KEY = "a-key-of-an-administrator"


@pytest.fixture(scope="session")
def swapping_service(item_run, tmp_path_factory):
    """`item_run`, served to all tests of the session, with room for items and files of catalogues.

    Tests that swap the catalogue leave it as they like; others use `item_service`.
    """
    pytest.importorskip("prometheus_client", reason="needs the extra serve")
    import jaxrec
    from jaxrec.serve import read_keys

    directory = tmp_path_factory.mktemp("catalogues")
    (directory / "keys").write_text(ADMIN_KEY)
    parts = {"catalogues": directory, "admin_keys": read_keys(directory / "keys")}
    with serving_items(jaxrec.open(item_run), service=parts, room=0.25, sizes=(4,)) as service:
        service.files, service.first = directory, service.engine.catalogue
        yield service


@pytest.fixture
def item_service(swapping_service):
    """`item_run`, served with its own catalogue."""
    swapping_service.engine.catalogue = swapping_service.first
    return swapping_service


@pytest.fixture(scope="session")
def tiny_text():
    """A tiny decoder with a tokenizer and a chat template, opened."""
    from jaxrec.data import train_bpe
    from jaxrec.models import ModelSpec, Opened, Pretrained
    from jaxrec.testing import random_params, tiny_model
    from jaxrec.texts import CHAT_TEMPLATE

    tokenizer = train_bpe(["one word and another, über 你好"] * 3, vocab_size=290)
    tokenizer.chat_template = CHAT_TEMPLATE
    config = dataclasses.replace(tiny_model(len(tokenizer)), max_length=128)
    spec = ModelSpec("causal", config)
    model = Pretrained(spec=spec, params=random_params(spec.build(), scale=0.3))
    return Opened(model=model, tokenizer=tokenizer)


@contextlib.contextmanager
def serving_text(opened, *, shapes=None, batching=None, drain=None, engine=None, **options):
    """Serve a text model as "tiny"; yield its address, its parts and the log."""
    from jaxrec import serve

    shapes = shapes or serve.TextShapes(
        prompt_lengths=(64,), answer_lengths=(24,), batch_sizes=(4,), chunk=4
    )
    engine = engine or serve.TextEngine(opened, shapes)
    metrics, log = serve.Metrics(), []
    batcher = serve.Batcher(engine, batching or serve.BatchingOptions(), observe=metrics.batch)
    state = serve.ServiceState(lambda: batcher.ready, serve.ServiceOptions(**options), metrics)
    metrics.watch_queue(lambda: batcher.waiting)
    service = serve.TextService(engine=engine, batcher=batcher, state=state, names=("tiny",))
    app = serve.make_service([serve.completions_router(service)], state, log=log.append)
    drain = drain or serve.DrainOptions(0.0, 20.0)
    with running(app, state, batcher, engine, log, drain) as served:
        yield served


@pytest.fixture(scope="session")
def text_service(tiny_text):
    """The tiny model, served to all tests of the session."""
    pytest.importorskip("prometheus_client", reason="needs the extra serve")
    with serving_text(tiny_text) as service:
        yield service


@pytest.fixture(scope="session")
def serve_text():
    """The context manager that serves a text model of the test's own."""
    pytest.importorskip("prometheus_client", reason="needs the extra serve")
    return serving_text


@pytest.fixture
def client(text_service):
    """The client of OpenAI, without retries."""
    openai = pytest.importorskip("openai", reason="needs the extra openai")
    with openai.OpenAI(base_url=f"{text_service.url}/v1", api_key="none", max_retries=0) as client:
        yield client
