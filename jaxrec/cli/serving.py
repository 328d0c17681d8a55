"""What `jaxrec serve` starts: the service of a text model, or the service of a recommender."""

import dataclasses
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxrec.core import ConfigError, printable
from jaxrec.runs import is_run, load_run, open_any, system_of
from jaxrec.serve import (
    Batcher,
    BatchingOptions,
    DrainOptions,
    HistoryCache,
    Metrics,
    OpenRecommender,
    RecommendEngine,
    RecommendLimits,
    RecommendService,
    RecommendShapes,
    ServedCatalogue,
    ServiceOptions,
    ServiceState,
    TextEngine,
    TextService,
    TextShapes,
    Worker,
    completions_router,
    listen,
    log_ready,
    make_service,
    open_recommender,
    read_keys,
    recommend_router,
    run_service,
    run_workers,
)

if TYPE_CHECKING:
    from jaxrec.cli.serve import Arguments


def open_items(path: Path, kind: str, baseline: str = "") -> OpenRecommender | None:
    """Open a run that ranks items; None for what is served as text.

    Args:
      path: of anything that can be served.
      kind: "items", or "auto" to find out.
      baseline: of the run that is opened in place of its model; "" for the model.

    Raises:
      ConfigError: a system that does not rank items, for the kind "items".
      DataError: a damaged run.
    """
    export = (path / "recommender.json").exists()
    ranks = is_run(path) and hasattr(system_of(load_run(path)), "open_ranker")
    if kind == "auto" and not (export or ranks or baseline):
        return None
    return open_recommender(path, baseline=baseline)


def serve_workers(options: "Arguments") -> None:
    """Serve by several processes until this one is told to end."""
    with listen(options.host, options.port) as listener:
        _say_where(options, listener, bool(options.api_key_file or options.admin_key_file))
        run_workers(options.workers, serve_run, options, listener, _drain(options))


def serve_run(options: "Arguments", worker: Worker | None = None) -> None:
    """Open what is served, and serve it until the process is told to end.

    Args:
      options: of the command line.
      worker: the process, if it is one of several.
    """
    model = (
        None if options.kind == "text" else open_items(options.run, options.kind, options.baseline)
    )
    check_unread(options, model is None)
    if model is None:
        _serve_text(options, worker)
    else:
        _serve_items(options, model, worker)


def _serve_items(options: "Arguments", model: OpenRecommender, worker: Worker | None) -> None:
    """Serve a recommender."""
    keys, admins = _keys(options.api_key_file), _keys(options.admin_key_file)
    if (options.catalogue_dir is None) != (options.admin_key_file is None):
        raise ConfigError("a swap of the catalogue needs both --catalogue-dir and --admin-key-file")
    if options.catalogue_dir is not None and not options.catalogue_dir.is_dir():
        raise ConfigError(f"--catalogue-dir {options.catalogue_dir} is no directory; make it")
    if admins and not keys:
        raise ConfigError("--admin-key-file needs --api-key-file, so that others have keys too")
    shapes = RecommendShapes(most_top=options.most_top, groups=options.diversity_groups)
    if options.batch_sizes:
        shapes = dataclasses.replace(shapes, batch_sizes=options.batch_sizes)
    limits = RecommendLimits(rows=options.max_rows, history=options.max_history)
    with _listener(options, worker) as listener:
        room = options.room if options.catalogue_dir is not None else 0.0
        catalogue = ServedCatalogue.of(model, "run", shapes.batch_sizes, room)
        cache = None
        if options.cache_mb:
            cache = HistoryCache(catalogue.ranker, options.cache_mb, shapes.batch_sizes[-1])
        metrics = _metrics(worker)
        engine = RecommendEngine(catalogue, shapes, cache, metrics.cache)

        def take(content: bytes) -> None:
            engine.catalogue = engine.catalogue.changed(content)

        batcher, state = _parts(options, engine, metrics, (*keys, *admins), worker, take)
        service = RecommendService(
            engine=engine,
            batcher=batcher,
            state=state,
            limits=limits,
            catalogues=options.catalogue_dir,
            admin_keys=admins,
            together=None if worker is None else worker.together,
        )
        if worker is None or worker.first:
            print(f"run: {printable(str(options.run))}, {len(model.names):,} items", flush=True)
        _serve(options, [recommend_router(service)], batcher, state, listener, worker)


def _serve_text(options: "Arguments", worker: Worker | None) -> None:
    """Serve a text model."""
    shapes = TextShapes(
        prompt_lengths=options.prompt_lengths,
        answer_lengths=options.answer_lengths,
        batch_sizes=options.batch_sizes or (1, 8),
        context=options.context,
    )
    keys = _keys(options.api_key_file)
    # An address that is in use is an error before a large model is read.
    with _listener(options, worker) as listener:
        engine = TextEngine(open_any(options.run, None, options.dtype), shapes)
        batcher, state = _parts(options, engine, _metrics(worker), keys, worker)
        name = options.name or options.run.resolve().stem
        service = TextService(
            engine=engine,
            batcher=batcher,
            state=state,
            # Clients that read the tokenizer from a path call the model by it.
            names=tuple(dict.fromkeys((name, str(options.run)))),
            most_choices=options.max_choices,
        )
        if worker is None or worker.first:
            print(f"model: {printable(name)}, context {engine.context} tokens", flush=True)
        _serve(options, [completions_router(service)], batcher, state, listener, worker)


_TEXT = ("name", "context", "dtype", "prompt_lengths", "answer_lengths", "max_choices")
_ITEMS = (
    "baseline",
    "most_top",
    "max_rows",
    "max_history",
    "catalogue_dir",
    "admin_key_file",
    "room",
    "cache_mb",
    "diversity_groups",
)


def check_unread(options: "Arguments", text: bool) -> None:
    """Reject options of the other kind of service, which nothing would read.

    Raises:
      ConfigError: such an option.
    """
    fields = {field.name: field.default for field in dataclasses.fields(options)}
    kinds = ("items", "text") if text else ("text", "items")
    for name in _ITEMS if text else _TEXT:
        if getattr(options, name) != fields[name]:
            raise ConfigError(
                f"--{name.replace('_', '-')} is for a service of {kinds[0]}, and {options.run} is "
                f"served as {kinds[1]}; leave it out, or choose by --kind"
            )


def _keys(path: Path | None) -> tuple[bytes, ...]:
    return () if path is None else read_keys(path)


def _listener(options: "Arguments", worker: Worker | None) -> socket.socket:
    return listen(options.host, options.port) if worker is None else worker.listener


def _metrics(worker: Worker | None) -> Metrics:
    return Metrics(None if worker is None else worker.together.directory)


def _drain(options: "Arguments") -> DrainOptions:
    return DrainOptions(options.drain_delay, options.drain_seconds)


def _parts(
    options: "Arguments",
    engine: Any,
    metrics: Metrics,
    keys: tuple[bytes, ...],
    worker: Worker | None,
    take: Callable[[bytes], None] | None = None,
) -> tuple[Any, Any]:
    """Make the queue and the state of a service.

    Args:
      options: of the command line.
      engine: what runs batches.
      metrics: of the service.
      keys: that requests send.
      worker: the process, if it is one of several.
      take: takes the content of a catalogue's file that another process has checked.
    """
    service = ServiceOptions(host=options.host, keys=keys, max_body=options.max_body)
    batching = BatchingOptions(wait=options.wait, queue=options.queue, at_once=options.at_once)
    together = None if worker is None else worker.together

    def begun(seconds: float) -> None:
        log_ready(seconds)
        if together is not None:
            # In this order: whoever swaps the catalogue later waits for this process.
            together.set_ready()
            if take is not None:
                together.take(take)

    batcher: Any = Batcher(engine, batching, observe=metrics.batch, begun=begun)
    state = ServiceState(
        lambda: batcher.ready and (together is None or together.all_ready),
        service,
        metrics,
        lambda: batcher.failure is not None,
    )
    metrics.watch_queue(lambda: batcher.waiting)
    if together is not None:
        together.follow(take)
    return batcher, state


def _say_where(options: "Arguments", listener: socket.socket, guarded: bool) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    if not guarded and options.host in ("0.0.0.0", "::"):
        print("everybody who reaches this machine can use it; --api-key-file asks for keys")
    print(f"http://{shown}:{port}/v1 (end with Ctrl-C; /readyz says when it is ready)", flush=True)


def _serve(
    options: "Arguments",
    routers: Any,
    batcher: Any,
    state: Any,
    listener: socket.socket,
    worker: Worker | None,
) -> None:
    app = make_service(routers, state)
    if worker is None:
        _say_where(options, listener, bool(state.options.keys))
    batcher.start()
    # Others answer until a process that was started again has compiled everything.
    while worker is not None and worker.again and not (batcher.ready or batcher.failure):
        time.sleep(0.05)
    together = None if worker is None else worker.together
    whole = lambda: together is None or together.ending  # noqa: E731
    run_service(app, state, listener, _drain(options), whole)
    batcher.close(timeout=1.0)
    if batcher.failure is not None:
        raise batcher.failure
