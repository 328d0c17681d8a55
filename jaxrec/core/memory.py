"""Keep freed memory in the process, which saves more time than anything else in CPU training.

The buffers of a training step are large, so glibc maps them at the start of each step and unmaps
them at its end. The kernel then zeroes them page by page, with hundreds of thousands of page faults
per step. If they stay in the heap, the next step uses the same pages.
"""

import ctypes
import platform

# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8


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
