"""Tune allocator and garbage collector for a long-lived process that moves large buffers."""

import ctypes
import gc
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGE_BYTES = 262_144
_SPARE_BYTES = 16_000_000

_YOUNG_OBJECTS = 100_000
"""Objects made and not freed since the last collection at which the next one starts. A run keeps
many while they are outstanding and makes few cycles; with the default of 700, the search for cycles
took 4 % of its CPU (samples of a profile)."""


def tune() -> None:
    """Return the memory of freed payloads to the system, and make collections rare and cheap.

    glibc raises its threshold for large allocations with each one that is freed, so payloads end
    on a heap that only grows, one per thread: 252 MB at the peak of a 1 GB run, and rising; with
    a fixed threshold and two heaps 121 MB, and flat. A fixed one also gives back 128 kB and
    more at the end of the heap at once, and the kernel has to clear them again a moment later: so
    some memory is kept. Without glibc, only the collector is tuned.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        pass
    else:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _SPARE_BYTES)
        mallopt(_M_ARENA_MAX, 2)
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)


def fill_standard_streams() -> None:
    """Open the null device for 0, 1 and 2 where they are closed, before a socket takes the number.

    libuv refuses to close such descriptors: ``dispatcher run x <&-`` would abort.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
