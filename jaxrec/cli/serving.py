"""What `jaxrec serve` starts: the service of a text model, or the service of a recommender."""

import dataclasses
import socket
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
    completions_router,
    listen,
    log_ready,
    make_service,
    open_recommender,
    read_keys,
    recommend_router,
    run_service,
)

if TYPE_CHECKING:
    from jaxrec.cli.serve import Arguments


def open_items(path: Path, kind: str) -> OpenRecommender | None:
    """Open a run that ranks items; None for what is served as text.

    Args:
      path: of anything that can be served.
      kind: "items", or "auto" to find out.

    Raises:
      ConfigError: a system that does not rank items, for the kind "items".
      DataError: a damaged run.
    """
    export = (path / "recommender.json").exists()
    ranks = is_run(path) and hasattr(system_of(load_run(path)), "open_ranker")
    if kind == "auto" and not (export or ranks):
        return None
    model = open_recommender(path)
    # Systems that ask by prompts of any length are text models.
    return model if kind == "items" or hasattr(model.ranker, "with_batch") else None


def serve_items(options: "Arguments", model: OpenRecommender) -> None:
    """Serve a recommender until the process is told to end."""
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
    with listen(options.host, options.port) as listener:
        room = options.room if options.catalogue_dir is not None else 0.0
        catalogue = ServedCatalogue.of(model, "run", shapes.batch_sizes, room)
        cache = None
        if options.cache_mb:
            cache = HistoryCache(catalogue.ranker, options.cache_mb, shapes.batch_sizes[-1])
        metrics = Metrics()
        engine = RecommendEngine(catalogue, shapes, cache, metrics.cache)
        batcher, state = _parts(options, engine, metrics, (*keys, *admins))
        service = RecommendService(
            engine=engine,
            batcher=batcher,
            state=state,
            limits=limits,
            catalogues=options.catalogue_dir,
            admin_keys=admins,
        )
        print(f"run: {printable(str(options.run))}, {len(model.names):,} items")
        _serve(options, [recommend_router(service)], batcher, state, listener)


def serve_text(options: "Arguments") -> None:
    """Serve a text model until the process is told to end."""
    shapes = TextShapes(
        prompt_lengths=options.prompt_lengths,
        answer_lengths=options.answer_lengths,
        batch_sizes=options.batch_sizes or (1, 8),
        context=options.context,
    )
    keys = _keys(options.api_key_file)
    # An address that is in use is an error before a large model is read.
    with listen(options.host, options.port) as listener:
        engine = TextEngine(open_any(options.run, None, options.dtype), shapes)
        batcher, state = _parts(options, engine, Metrics(), keys)
        name = options.name or options.run.resolve().stem
        service = TextService(
            engine=engine,
            batcher=batcher,
            state=state,
            # Clients that read the tokenizer from a path call the model by it.
            names=tuple(dict.fromkeys((name, str(options.run)))),
            most_choices=options.max_choices,
        )
        print(f"model: {printable(name)}, context {engine.context} tokens")
        _serve(options, [completions_router(service)], batcher, state, listener)


def _keys(path: Path | None) -> tuple[bytes, ...]:
    return () if path is None else read_keys(path)


def _parts(
    options: "Arguments", engine: Any, metrics: Metrics, keys: tuple[bytes, ...]
) -> tuple[Any, Any]:
    """Make the queue and the state of a service."""
    service = ServiceOptions(host=options.host, keys=keys, max_body=options.max_body)
    batching = BatchingOptions(wait=options.wait, queue=options.queue, at_once=options.at_once)
    batcher: Any = Batcher(engine, batching, observe=metrics.batch, begun=log_ready)
    state = ServiceState(
        lambda: batcher.ready, service, metrics, lambda: batcher.failure is not None
    )
    metrics.watch_queue(lambda: batcher.waiting)
    return batcher, state


def _serve(
    options: "Arguments", routers: Any, batcher: Any, state: Any, listener: socket.socket
) -> None:
    drain = DrainOptions(options.drain_delay, options.drain_seconds)
    app = make_service(routers, state)
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    if not state.options.keys and options.host in ("0.0.0.0", "::"):
        print("everybody who reaches this machine can use it; --api-key-file asks for keys")
    print(f"http://{shown}:{port}/v1 (end with Ctrl-C; /readyz says when it is ready)", flush=True)
    batcher.start()
    run_service(app, state, listener, drain)
    batcher.close(timeout=1.0)
    if batcher.failure is not None:
        raise batcher.failure
