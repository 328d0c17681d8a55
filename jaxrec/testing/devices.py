"""Scripts on several fake devices: their number is fixed when JAX starts, so in a process each."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

# Compiling is most of the time of a small program: without optimizations or fused loops.
_FLAGS = (
    "--xla_force_host_platform_device_count={} --xla_backend_optimization_level=0 "
    "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
)


def device_environment(count: int) -> dict[str, str]:
    """Environment variables of a process with so many CPU devices, where compiling is quick."""
    return os.environ | {"XLA_FLAGS": _FLAGS.format(count), "JAX_PLATFORMS": "cpu"}


def run_on_devices(count: int, script: Path, *arguments: Any) -> Any:
    """What a script prints as its last line, JSON, on so many CPU devices.

    Args:
      count: devices.
      script: file of Python.
      *arguments: given to it as JSON.

    Raises:
      RuntimeError: the script failed, with the end of what it said.
    """
    words = [sys.executable, str(script), *map(json.dumps, arguments)]
    child = subprocess.run(
        words, capture_output=True, text=True, env=device_environment(count), check=False
    )
    if child.returncode:
        raise RuntimeError(f"{script} exited with {child.returncode}:\n{child.stderr[-3000:]}")
    return json.loads(child.stdout.splitlines()[-1])
