"""The recommendation service: throughput and latency, against the bare search and Hugging Face.

    python tools/bench serving RUN [--seconds 20] [--requests 10000] [--peer-seconds 20]
        [--batch-sizes 1 8 32 64] [--wait 0.002]

A service of the run is loaded by 1, 8 and 64 clients in a process of their own, each of which sends
its next history as soon as it has its answer. "search" is `Ranker.best` on full batches without a
service. "Hugging Face" is `generate` with `prefix_allowed_tokens_fn` in PyTorch with the same
weights, behind the same routes and the same queue.

Then 64 clients send `--requests` requests while the catalogue is swapped between three versions;
each answer is compared with the list that the library gives for the version that it names; items
may have changed places only where scores differ by no more than rounding. At last
the service is told to end while 8 clients wait. A request is lost if its connection was made and no
whole answer came over it, or if its connection was refused before the service stopped listening.
Compilations are counted from the moment at which the service is ready.
"""

import contextlib
import dataclasses
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from support.header import print_header, require
from support.table import Table

from jaxrec.core import CompileCounter, Count, Positive
from jaxrec.runs import Asked
from jaxrec.serve import (
    Batcher,
    BatchingOptions,
    DrainOptions,
    OpenRecommender,
    RecommendEngine,
    RecommendService,
    RecommendShapes,
    ServedCatalogue,
    ServiceServer,
    ServiceState,
    listen,
    make_service,
    open_recommender,
    recommend_router,
)

Scored = Sequence[tuple[str, float]]

CLIENTS = (1, 8, 64)
TOP = 10
# Seconds for which the service listens after it is told to end.
DELAY = 0.5
LOAD = Path(__file__).parents[1] / "support" / "http_load.py"
# Most that a score may differ between calls of different sizes, in nats.
ROUNDING = 1e-5
# Removed items of the versions that are swapped.
REMOVED = (0, 40, 200)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What to load.

    Attributes:
      run: a run of the generative recommender.
      seconds: of each load.
      requests: compared with the library while the catalogue is swapped.
      peer_seconds: of each load of Hugging Face; 0 leaves it out.
      wait: see `jaxrec serve --wait`.
      batch_sizes: see `jaxrec serve --batch-sizes`.
    """

    run: Annotated[Path, tyro.conf.Positional]
    seconds: Positive = 20.0
    requests: Count = 10_000
    peer_seconds: float = 20.0
    wait: float = 0.005
    batch_sizes: tuple[Count, ...] = (1, 8, 64)


def run(options: Options) -> Table:
    """Load the service and its peers, and print a row for each."""
    require("fastapi", "uvicorn", "prometheus_client")
    print_header()
    model = open_recommender(options.run)
    shapes = RecommendShapes(most_top=TOP, batch_sizes=options.batch_sizes)
    catalogue = ServedCatalogue.of(model, "run", shapes.batch_sizes, room=0.25)
    engine = RecommendEngine(catalogue, shapes)
    histories = histories_of(model)
    bodies = [{"histories": [names], "top": TOP} for names in histories]
    rows: dict[str, Any] = {}
    # The library compiles programs of its own for the answers that are expected.
    versions, wanted = expected(engine, model, histories)
    with served(engine, options.wait) as service, CompileCounter() as counter:
        for clients in CLIENTS:
            rows[f"service, {clients}"] = load(service.url, bodies, clients, options.seconds)
            show(f"service, {clients} clients", rows[f"service, {clients}"])
        wrong, answered = swapped(engine, service, versions, wanted, bodies, options.requests)
        lost = drained(service, bodies)
    compilations = counter.count
    for program in counter.programs:
        print(f"compiled after the warm-up: {program}")
    print(f"{answered} answers compared, {wrong} wrong, {lost} lost in a drain")
    search = bare(engine, histories, options.seconds)
    print(f"{'search, batches of ' + str(shapes.batch_sizes[-1]):<28} {search:>9.1f} a second")
    best = max(rows[f"service, {clients}"]["rate"] for clients in CLIENTS)
    ratio = None
    if options.peer_seconds > 0:
        require("torch", "transformers")
        ratio = best / peers(engine, bodies, options, rows)
    eight = rows["service, 8"]
    record = {
        "throughput_over_hf": ratio,
        "share_of_search": best / search,
        "p99_over_p50": eight["p99"] / eight["p50"],
        "compilations": compilations,
        "wrong": wrong,
        "lost": lost,
        "rows": rows,
    }
    failures = tuple(
        f"{name} is {record[name]} and must be 0"
        for name in ("compilations", "wrong", "lost")
        if record[name]
    )
    return Table(record, failures=failures)


def histories_of(model: OpenRecommender, most: int = 500) -> list[list[str]]:
    """Histories of users of the run, as original IDs."""
    assert model.kept is not None
    found: list[list[str]] = []
    for _, histories in model.kept.batches(most):
        found += [model.names.ids[items].tolist() for items in histories]
        if len(found) >= most:
            break
    return found[:most]


@dataclasses.dataclass(frozen=True)
class Served:
    """A service that runs.

    Attributes:
      url: its address.
      server: the process's server.
      thread: in which it runs.
    """

    url: str
    server: ServiceServer
    thread: threading.Thread


@contextlib.contextmanager
def served(engine: Any, wait: float) -> Iterator[Served]:
    """Serve an engine in a thread of this process, and wait until it is ready."""
    batcher: Any = Batcher(engine, BatchingOptions(wait=wait))
    state = ServiceState(lambda: batcher.ready)
    service = RecommendService(engine=engine, batcher=batcher, state=state)
    app = make_service([recommend_router(service)], state, log=lambda record: None)
    server = ServiceServer(app, state, DrainOptions(DELAY, 60.0))
    listener = listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    batcher.start()
    try:
        while not (server.started and batcher.ready):
            if batcher.failure is not None:
                raise batcher.failure
            time.sleep(0.01)
        yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", server, thread)
    finally:
        if not state.ending:
            server.end()
        thread.join()
        batcher.close()
        listener.close()


def started(
    url: str, bodies: Sequence[Any], clients: int, seconds: float, most: int
) -> subprocess.Popen[str]:
    """Start a process of clients."""
    command = [sys.executable, str(LOAD), url, str(clients), str(seconds), str(most)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    process.stdin.write("\n".join(map(json.dumps, bodies)))
    process.stdin.close()
    return process


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for a process of clients; return what it found."""
    assert process.stdout is not None
    found: dict[str, Any] = json.loads(process.stdout.read())
    process.wait()
    return found


def load(url: str, bodies: Sequence[Any], clients: int, seconds: float) -> dict[str, float]:
    """Load a service, and return requests a second and quantiles of their seconds."""
    # A first second fills caches of the clients and of the process.
    ended(started(url, bodies, clients, min(1.0, seconds), 1 << 30))
    found = ended(started(url, bodies, clients, seconds, 1 << 30))
    early = found["lost"] + [f"refused at {when:.1f}" for when in found["refused"]]
    if early:
        raise RuntimeError(f"{len(early)} clients ended early: {early[0]}")
    times = np.array([row[0] for row in found["found"]])
    return {
        "rate": len(times) / found["seconds"],
        "p50": float(np.quantile(times, 0.5)),
        "p99": float(np.quantile(times, 0.99)),
    }


def show(name: str, row: dict[str, float]) -> None:
    """Print a row."""
    print(
        f"{name:<28} {row['rate']:>9.1f} a second, p50 {1e3 * row['p50']:>8.1f} ms, p99 "
        f"{1e3 * row['p99']:>8.1f} ms",
        flush=True,
    )


def expected(
    engine: RecommendEngine, model: OpenRecommender, histories: list[list[str]]
) -> tuple[list[ServedCatalogue], dict[str, list[Scored]]]:
    """Return versions of the catalogue, and what the library recommends in each of them."""
    first, ids = engine.catalogue, model.names.ids.tolist()
    versions = [
        first.changed(json.dumps({"removed": ids[:removed]}).encode()) for removed in REMOVED
    ]
    wanted: dict[str, list[Scored]] = {}
    for removed, version in zip(REMOVED, versions, strict=True):
        alone = dataclasses.replace(
            model, changes=dataclasses.replace(model.changes, removed=tuple(ids[:removed]))
        )
        lists = alone.recommend(histories=histories, top=TOP)
        wanted[version.version] = [
            [(item, score) for item, score in zip(*row, strict=True) if item]
            for row in zip(lists.items.tolist(), lists.scores.tolist(), strict=True)
        ]
    return versions, wanted


def same(found: Scored, wanted: Scored) -> bool:
    """Whether two lists are equal but for items with the same score up to rounding."""
    scores = dict(wanted)
    return len(found) == len(wanted) and all(
        abs(score - expected) <= ROUNDING and abs(score - scores.get(item, score)) <= ROUNDING
        for (item, score), (_, expected) in zip(found, wanted, strict=True)
    )


def swapped(
    engine: RecommendEngine,
    service: Served,
    versions: list[ServedCatalogue],
    wanted: dict[str, list[Scored]],
    bodies: Sequence[Any],
    count: int,
) -> tuple[int, int]:
    """Swap catalogues under load; return how many answers were wrong, and how many there were."""
    first = engine.catalogue
    engine.catalogue = versions[0]
    process = started(service.url, bodies, 64, 1e6, count)
    swapping = threading.Event()

    def swap() -> None:
        turn = 0
        while not swapping.wait(0.2):
            turn += 1
            engine.catalogue = versions[turn % len(versions)]

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        found = ended(process)
    finally:
        swapping.set()
        thread.join()
    engine.catalogue = first
    rows = found["found"]
    bad = sum(
        not (len(lists) == 1 and same(lists[0], wanted[version][line]))
        for _, line, version, lists in rows
    )
    return bad + len(found["lost"]) + len(found["refused"]), len(rows)


def drained(service: Served, bodies: Sequence[Any]) -> int:
    """End the service while clients send requests; return how many were lost."""
    process = started(service.url, bodies, 8, 1e6, 1 << 30)
    time.sleep(3.0)
    service.server.end()
    until = time.monotonic() + DELAY
    found = ended(process)
    service.thread.join()
    for error in found["lost"]:
        print(f"lost: {error}")
    return len(found["lost"]) + sum(when < until for when in found["refused"])


def bare(engine: RecommendEngine, histories: list[list[str]], seconds: float) -> float:
    """Lists a second of the search alone, on full batches."""
    size, model = engine.shapes.batch_sizes[-1], engine.catalogue.model
    ranker = engine.catalogue.rankers[size]
    asked = model.asked(histories=histories)
    width = engine.shapes.excluded
    out = [row[-width:] for row in asked.histories]
    parts = [
        Asked(histories=asked.histories[at : at + size], excluded=out[at : at + size])
        for at in range(0, len(out) - size + 1, size)
    ]
    for part in parts:
        ranker.best(part, engine.lengths[0])
    began, done = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        ranker.best(parts[done % len(parts)], engine.lengths[0])
        done += 1
    return done * size / (time.monotonic() - began)


class PeerEngine(RecommendEngine):
    """Hugging Face in place of a compiled search."""

    def warm_up(self) -> None:
        """Nothing is compiled."""


def peers(
    engine: RecommendEngine, bodies: Sequence[Any], options: Options, rows: dict[str, Any]
) -> float:
    """Load Hugging Face behind the same service; return its best number of lists a second."""
    from support.served_peer import PeerRanker

    peer: Any = PeerRanker(engine.catalogue.ranker)
    sizes = engine.shapes.batch_sizes
    catalogue = dataclasses.replace(engine.catalogue, rankers=dict.fromkeys(sizes, peer))
    theirs = PeerEngine(catalogue, engine.shapes)
    best = 0.0
    with served(theirs, options.wait) as service:
        for clients in CLIENTS:
            row = load(service.url, bodies, clients, options.peer_seconds)
            rows[f"hf, {clients}"] = row
            show(f"Hugging Face, {clients} clients", row)
            best = max(best, row["rate"])
    return best
