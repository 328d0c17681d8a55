"""Running scripts on several fake devices, in own processes: JAX fixes their number at start-up."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

# Small programs spend most time compiling, so optimizations and fused loops are turned off.
_FLAGS = (
    "--xla_force_host_platform_device_count={} --xla_backend_optimization_level=0 "
    "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
)


def device_environment(count: int) -> dict[str, str]:
    """Return the environment of a process with `count` CPU devices and quick compilation."""
    return os.environ | {"XLA_FLAGS": _FLAGS.format(count), "JAX_PLATFORMS": "cpu"}


def run_on_devices(count: int, script: Path, *arguments: Any) -> Any:
    """Run a script on fake CPU devices and return the JSON of its last output line.

    Args:
      count: number of devices.
      script: Python file.
      *arguments: passed to the script as JSON.

    Raises:
      RuntimeError: the script failed; the message has the end of its standard error.
    """
    words = [sys.executable, str(script), *map(json.dumps, arguments)]
    child = subprocess.run(
        words, capture_output=True, text=True, env=device_environment(count), check=False
    )
    if child.returncode:
        raise RuntimeError(f"{script} exited with {child.returncode}:\n{child.stderr[-3000:]}")
    return json.loads(child.stdout.splitlines()[-1])
