"""Start a program in several processes on this machine, as a scheduler does on several."""

import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path


def launch(
    command: Sequence[str],
    processes: int = 1,
    devices: int = 1,
    *,
    cache: Path | None = None,
    output: Path | int = subprocess.DEVNULL,
) -> list[subprocess.Popen[str]]:
    """Start processes that find one another, each with so many CPU devices.

    Args:
      command: the program and its arguments; gets `--distributed` where there are several.
      processes: how many.
      devices: of each.
      cache: keeps compiled programs from one start to the next.
      output: gets what they print: a file, opened for appending, or as `subprocess.Popen` takes it.
    """
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
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
    """Wait for all, and kill what does not end in time."""
    try:
        return [process.wait(seconds) for process in started]
    finally:
        for process in started:
            process.kill()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
