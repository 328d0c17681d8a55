"""A service that is served by threads of the test."""

import contextlib
import threading
import time
import types


@contextlib.contextmanager
def running(app, state, batcher, engine, log, drain):
    """Serve an application and its batches; yield its address and its parts."""
    from jaxrec import serve

    server = serve.ServiceServer(app, state, drain)
    listener = serve.listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    batcher.start()
    try:
        while not (server.started and (batcher.ready or batcher.failure)):
            time.sleep(0.005)
        yield types.SimpleNamespace(
            url=f"http://127.0.0.1:{listener.getsockname()[1]}",
            engine=engine,
            batcher=batcher,
            state=state,
            server=server,
            thread=thread,
            log=log,
        )
    finally:
        if not state.ending:
            server.end()
        thread.join()
        batcher.close()
        listener.close()
