import os
import platform
import subprocess
import sys

import pytest

from jaxrec.core import memory
from jaxrec.core.memory import host_memory, is_out_of_memory, keep_memory

FAULTS = """
import resource, sys
import numpy as np
from jaxrec.core import memory
from jaxrec.core.memory import host_memory, is_out_of_memory, keep_memory
if sys.argv[1] == "keep":
    assert keep_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for turn in range(5):
    before = faults()
    large = np.empty(1 << 26, np.uint8)
    large[::4096] = 1
    del large
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone has these settings")
def test_freed_memory_serves_the_next_allocation_without_page_faults():
    # In processes of their own: the setting lasts as long as the process.
    found = {
        way: int(
            subprocess.run(
                [sys.executable, "-c", FAULTS, way], capture_output=True, check=True
            ).stdout
        )
        for way in ("keep", "drop")
    }
    assert found["keep"] < 100
    assert found["drop"] > 10 * max(found["keep"], 1)


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_memory()


@pytest.mark.skipif(platform.system() != "Linux", reason="another kernel tells nothing")
def test_the_memory_of_the_host_is_what_the_kernel_and_the_container_allow(tmp_path, monkeypatch):
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    monkeypatch.setattr(memory, "_LIMITS", ())
    # Swap is memory too.
    assert 0.9 * pages <= host_memory() < 100 * pages
    without = host_memory()
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "_LIMITS", (str(limit),))
    limit.write_text("max\n")
    assert host_memory() == without
    limit.write_text("1000000\n")
    with open("/proc/meminfo") as file:
        rows = {row.split(":")[0]: int(row.split()[1]) * 1024 for row in file}
    assert host_memory() == 1_000_000 + rows["SwapTotal"]


def test_running_out_of_memory_is_told_from_other_errors():
    import jax

    exhausted = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes")
    assert is_out_of_memory(exhausted) and is_out_of_memory(MemoryError())
    assert not is_out_of_memory(jax.errors.JaxRuntimeError("INTERNAL: lost"))
    assert not is_out_of_memory(RuntimeError("RESOURCE_EXHAUSTED"))
