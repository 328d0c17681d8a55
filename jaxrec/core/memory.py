"""The memory of this machine: how much there is, what runs out of it, and how to keep it.

Keeping freed memory in the process saves more time than anything else in CPU training. The buffers
of a training step are large, so glibc maps them at the start of each step and unmaps them at its
end. The kernel then zeroes them page by page, with hundreds of thousands of page faults per step.
If they stay in the heap, the next step uses the same pages.
"""

import contextlib
import ctypes
import os
import platform
from pathlib import Path

# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8


# Where the kernel says how much memory a container may use: cgroups of version 2 and 1.
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def host_memory() -> int | None:
    """Bytes of memory and swap that the programs of this host may use; None if it does not say.

    Example:
      >>> (host_memory() or 1) > 0
      True
    """
    try:
        rows = Path("/proc/meminfo").read_text().splitlines()
        sizes = {row.split(":")[0]: int(row.split()[1]) * 1024 for row in rows}
        memory, swap = sizes["MemTotal"], sizes.get("SwapTotal", 0)
    except (OSError, ValueError, LookupError):
        try:
            memory, swap = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), 0
        except (OSError, ValueError):
            return None
    for path in _LIMITS:
        # A limit of "max" is none.
        with contextlib.suppress(OSError, ValueError):
            memory = min(memory, int(Path(path).read_text()))
    return memory + swap


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python or of XLA says that memory ran out.

    Example:
      >>> is_out_of_memory(MemoryError()), is_out_of_memory(ValueError("no"))
      (True, False)
    """
    # By its name, because importing JAX takes longer than most commands do.
    of_xla = type(error).__name__ in ("JaxRuntimeError", "XlaRuntimeError")
    return isinstance(error, MemoryError) or (of_xla and "RESOURCE_EXHAUSTED" in str(error))


def keep_memory() -> bool:
    """Let this process reuse freed memory, for its lifetime, instead of returning it to the system.

    Call it before JAX starts its threads. The resident size then stays near its maximum, which
    fragmentation can raise. So programs that train should call this, but libraries should not.

    Returns:
      Whether it took effect. It is False if the C library is not glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # Never map a buffer separately, never return the end of the heap, grow in large pieces, and use
    # one heap for all threads.
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_TOP_PAD, 64 << 20), (_ARENA_MAX, 1))
    return all(mallopt(name, value) == 1 for name, value in settings)
