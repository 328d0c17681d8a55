"""A labeling page that is served by a thread of the test."""

import contextlib
import threading
import time

import pytest


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
