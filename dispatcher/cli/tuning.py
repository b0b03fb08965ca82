"""What a long-lived process that moves large buffers asks of its runtime."""

import ctypes
import gc
import os

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_LARGE_BYTES = 262_144


def tune() -> None:
    """Let freed payloads go back to the system, and spare the collector what never dies.

    glibc raises its threshold for large allocations with each one that is freed, so payloads end
    on a heap that only grows, one per thread: 252 MB at the peak of a 1 GB run, and rising; with
    a fixed threshold and two heaps 121 MB, and flat. Elsewhere than on glibc this does nothing.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        pass
    else:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_ARENA_MAX, 2)
    gc.collect()
    gc.freeze()


def fill_standard_streams() -> None:
    """Open what the caller has closed of 0, 1 and 2, before a socket takes the number.

    libuv refuses to close such descriptors: ``dispatcher run x <&-`` would abort.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
