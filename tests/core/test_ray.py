"""Ray's workers, without a cluster: what fits, who answers, and what comes back."""

import contextlib
import os
import socket
import sys
import threading
import types

import pytest

from jaxrec.core import ConfigError, DataError, RayEngine, ResourceError
from jaxrec.core.ray_cluster import check_address, cpus_each, kind_of
from jaxrec.core.ray_worker import RayWorker, rebuilt


@pytest.mark.parametrize(
    ("nodes", "workers", "kind", "cpus"),
    [
        ([{"CPU": 2.0}], 2, "CPU", 1),
        ([{"CPU": 7.0}], 2, "CPU", 3),
        # Three of 5 would fit neither in 8 nor in 4 processors.
        ([{"CPU": 8.0}, {"CPU": 4.0}], 3, "CPU", 4),
        ([{"CPU": 8.0}, {"CPU": 4.0}], 4, "CPU", 2),
        ([{"CPU": 64.0}, {"CPU": 8.0, "GPU": 2.0}], 2, "GPU", 4),
        ([{"CPU": 64.0, "TPU": 4.0}], 4, "TPU", 16),
        # A head without processors takes no worker.
        ([{"GPU": 8.0}, {"CPU": 4.0, "GPU": 1.0}], 1, "GPU", 4),
    ],
)
def test_workers_share_the_processors_of_their_machines(nodes, workers, kind, cpus):
    assert kind_of(nodes) == kind
    assert cpus_each(nodes, workers, kind) == cpus


@pytest.mark.parametrize(
    ("nodes", "workers", "words"),
    [
        ([{"CPU": 64.0, "GPU": 2.0}], 3, "room for 2, each with a GPU and a CPU; give at most 2"),
        ([{"CPU": 1.0}, {"CPU": 2.0}], 4, "room for 3, each with a CPU; give at most 3"),
        ([{"GPU": 2.0}], 1, "room for 0"),
    ],
)
def test_more_workers_than_accelerators_are_refused(nodes, workers, words):
    with pytest.raises(ConfigError, match=words):
        cpus_each(nodes, workers, kind_of(nodes))


@contextlib.contextmanager
def answering(reply):
    """The address of a server that sends a reply to whoever speaks first."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def test_an_address_must_answer_like_grpc():
    with answering(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])) as address:
        check_address(address)
    for reply in (b"HTTP/1.0 400 Bad request\r\n", b""):
        with (
            answering(reply) as address,
            pytest.raises(ConfigError, match="something else than a Ray cluster answers there"),
        ):
            check_address(address)
    with pytest.raises(ConfigError, match=f"{address}: nothing answers there"):
        check_address(address)
    for word in ("head", "ray://head:10001", "head:0", "head:99999", ":6379"):
        with pytest.raises(ConfigError, match="is not HOST:PORT"):
            check_address(word)
    check_address("auto")


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'jaxrec\[ray\]'"), RayEngine(workers=1):
        pass
    with pytest.raises(ConfigError, match="used in a block"):
        next(RayEngine(workers=1).map(lambda: str, ["a"]))


def open_job():
    """A job: what it opens says what the environment was, or fails."""
    threads = os.environ["NPROC"]

    def work(piece):
        if isinstance(piece, Exception):
            raise piece
        return piece, threads

    return work


@pytest.fixture
def worker(monkeypatch):
    """A worker whose pieces were begun as often as `before` says."""
    ray = pytest.importorskip("ray", reason="needs the extra ray")
    monkeypatch.setattr(ray, "get", lambda answer: answer)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    monkeypatch.delenv("NPROC", raising=False)
    before = types.SimpleNamespace(begin=types.SimpleNamespace(remote=lambda number: number))
    job = ray.cloudpickle.dumps(open_job)
    made = RayWorker(job, {"NPROC": "3", "JAX_PLATFORMS": "cpu"}, before)

    def do(number, piece):
        batch = {"number": [number], "piece": [ray.cloudpickle.dumps(piece)]}
        return {name: value for name, (value,) in made(batch).items()}

    return do, ray.cloudpickle.loads


def test_a_worker_sets_its_environment_before_it_opens_anything(worker):
    do, read = worker
    answer = do(2, "a")
    assert (answer["number"], answer["error"]) == (2, "")
    assert read(answer["result"]) == ("a", "3")
    assert os.environ["JAX_PLATFORMS"] == "cpu"


def test_errors_are_answers_and_arrive_as_they_were(worker):
    do, _ = worker

    def back(error):
        answer = do(0, error)
        return rebuilt(answer["error"], answer["message"], answer["trace"])

    found = back(DataError("a.csv, row 3: no"))
    assert type(found) is DataError and str(found) == "a.csv, row 3: no"
    found = back(KeyError("x"))
    assert type(found) is RuntimeError and str(found) == "KeyError: 'x'"
    assert "raise piece" in found.__notes__[0]
    assert isinstance(back(MemoryError()), ResourceError)
    assert type(rebuilt("mro", "no class", "")) is RuntimeError


def test_a_piece_that_ends_its_workers_is_given_up(worker):
    do, _ = worker
    assert do(3, "a")["error"] == ""
    answer = do(4, "a")
    assert answer["error"] == "ResourceError"
    assert "piece 4 of the work ended its worker 4 times" in answer["message"]
