import platform
import subprocess
import sys

import pytest

from jaxrec.core.memory import keep_memory

FAULTS = """
import resource, sys
import numpy as np
from jaxrec.core.memory import keep_memory
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
