"""Starting a program in several processes on one machine, as a scheduler does on several."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path


def launch(
    command: Sequence[str],
    processes: int = 1,
    devices: int = 1,
    *,
    cache: Path | None = None,
    output: Path | int = subprocess.DEVNULL,
) -> list[subprocess.Popen[str]]:
    """Start processes that form one distributed program, each with its own CPU devices.

    Args:
      command: the program and its arguments; `--distributed` is added for several processes.
      processes: number of processes.
      devices: number of CPU devices per process.
      cache: directory for compiled programs, shared by later starts; None for no cache.
      output: receives standard output and error: a file, opened for appending, or a stream as in
        `subprocess.Popen`.

    Returns:
      The started processes, by process number.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count={devices}",
    }
    if cache is not None:
        environment |= {
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
    command = list(command)
    if processes > 1:
        command.append("--distributed")
        environment |= {
            "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{_free_port()}",
            "JAX_NUM_PROCESSES": str(processes),
        }
    stream = output.open("a") if isinstance(output, Path) else output
    try:
        return [
            subprocess.Popen(
                command,
                env=environment | {"JAX_PROCESS_ID": str(number)},
                stdout=stream,
                stderr=stream,
                text=True,
            )
            for number in range(processes)
        ]
    finally:
        if not isinstance(stream, int):
            stream.close()


def exit_codes(started: Sequence[subprocess.Popen[str]], seconds: float = 240) -> list[int]:
    """Wait for all processes; kill those that do not end in time."""
    try:
        return [process.wait(seconds) for process in started]
    finally:
        for process in started:
            process.kill()


@contextlib.contextmanager
def held(directory: Path) -> Iterator[int]:
    """Let another process hold the lock of a directory; yields the number of that process."""
    words = (
        "import sys; from pathlib import Path; from jaxrec.core.lock import DirectoryLock\n"
        "with DirectoryLock(Path(sys.argv[1])): print('held', flush=True), sys.stdin.read()"
    )
    command = [sys.executable, "-c", words, str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        try:
            yield other.pid
        finally:
            other.kill()  # so that it cannot release the lock


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
