"""A Ray cluster: connect to it within seconds or say why not, and see what it has room for."""

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxrec.core.errors import ConfigError, ResourceError

AUTO = "auto"
_ACCELERATORS = ("GPU", "TPU")
_SECONDS = 5.0
# How a client of HTTP/2, and so of gRPC, begins: a fixed text, and a frame of no settings.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


def import_ray() -> Any:
    """Import Ray.

    Raises:
      ConfigError: it is not installed; the message names the extra.
    """
    # No reports of use, and no lines of Ray's own C++ between ours.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ConfigError(
            f"--engine ray needs Ray, which cannot be imported ({error}): pip install 'jaxrec[ray]'"
        ) from error
    return ray


@contextlib.contextmanager
def connected(ray: Any, address: str) -> Iterator[None]:
    """Be connected to a cluster; one to which this process was connected before stays so.

    Args:
      ray: the module.
      address: see `RayEngine`.

    Raises:
      ConfigError: no cluster answers there.
      ResourceError: no cluster could be started on this machine.
    """
    check_address(address)
    if ray.is_initialized():
        yield
        return
    quiet = {"logging_level": "ERROR", "log_to_driver": False}
    try:
        if address:
            ray.init(address=address, **quiet)
        else:
            ray.init(address="local", include_dashboard=False, **quiet)
    except Exception as error:  # Ray's errors share no base
        reason = " ".join(str(error).split())[:200]
        if address:
            raise ConfigError(
                f"--address {address}: no Ray cluster answers ({reason}); start one with "
                "`ray start --head`, or leave --address out to use this machine"
            ) from error
        raise ResourceError(f"Ray does not start on this machine: {reason}") from error
    try:
        yield
    finally:
        ray.shutdown()


def check_address(address: str) -> None:
    """Reject an address at which nothing answers like Ray.

    Ray itself waits for minutes, and then ends the process.

    Args:
      address: HOST:PORT; "auto" and "" are not looked up.

    Raises:
      ConfigError: the address has another form, nothing answers, or something else than a cluster.

    Example:
      >>> check_address("ray://head:10001")
      Traceback (most recent call last):
      jaxrec.core.errors.ConfigError: --address 'ray://head:10001' is not HOST:PORT; give that of...
    """
    if address in ("", AUTO):
        return
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ConfigError(
            f"--address {address!r} is not HOST:PORT; give that of the cluster's head, for example "
            "10.0.0.1:6379, or 'auto'"
        )
    what = "nothing answers there"
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _SECONDS) as connection:
            connection.settimeout(_SECONDS)
            connection.sendall(_PREFACE)
            answer = connection.recv(9)
            what = "something else than a Ray cluster answers there"
    except OSError as error:
        answer, what = b"", f"{what} ({error.strerror or error})"
    # The answer of a gRPC server begins with its settings, a frame of type 4.
    if len(answer) < 4 or answer[3] != 4:
        raise ConfigError(
            f"--address {address}: {what}; give the address that `ray start --head` printed, or "
            "leave --address out to use this machine"
        )


def kind_of(nodes: Sequence[Mapping[str, float]]) -> str:
    """Return what each worker gets one of: "GPU" or "TPU", or "CPU" where there is neither.

    Args:
      nodes: the resources of each machine, as `ray.nodes()` lists them.
    """
    return next((kind for kind in _ACCELERATORS if any(node.get(kind) for node in nodes)), "CPU")


def cpus_each(nodes: Sequence[Mapping[str, float]], workers: int, kind: str) -> int:
    """Return the most processors that every worker can have, so that threads do not compete.

    Args:
      nodes: the resources of each machine.
      workers: number of workers.
      kind: what each of them gets one of.

    Raises:
      ConfigError: there are fewer accelerators, or processors, than workers.

    Example:
      >>> nodes = [{"CPU": 16.0, "GPU": 2.0}, {"CPU": 4.0, "GPU": 1.0}]
      >>> cpus_each(nodes, 2, "GPU"), cpus_each(nodes, 3, "GPU")
      (8, 4)
      >>> cpus_each(nodes, 4, "GPU")
      Traceback (most recent call last):
      jaxrec.core.errors.ConfigError: --workers is 4, but the cluster has room for 3, each with a...
    """

    def room(cpus: int) -> int:
        """How many workers with so many processors fit."""
        return sum(
            int(min(node.get("CPU", 0) // cpus, node.get(kind, 0) if kind != "CPU" else 1 << 30))
            for node in nodes
        )

    most = int(max((node.get("CPU", 0) for node in nodes), default=0))
    for cpus in range(most, 0, -1):
        if room(cpus) >= workers:
            return cpus
    what = "a CPU" if kind == "CPU" else f"a {kind} and a CPU"
    raise ConfigError(
        f"--workers is {workers}, but the cluster has room for {room(1)}, each with {what}; give "
        f"at most {room(1)}"
    )
