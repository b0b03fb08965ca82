"""What a long-lived process that moves large buffers asks of its runtime."""

import ctypes
import gc
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGE_BYTES = 262_144
_SPARE_BYTES = 16_000_000

_YOUNG_OBJECTS = 100_000
"""Objects made and not freed since the last collection that ask for the next one. A run keeps many
for as long as they are outstanding, and makes hardly a cycle; with the default of 700, looking for
cycles was 4 % of its CPU (samples of a profile)."""


def tune() -> None:
    """Let freed payloads go back to the system, and spare the collector what never dies.

    glibc raises its threshold for large allocations with each one that is freed, so payloads end
    on a heap that only grows, one per thread: 252 MB at the peak of a 1 GB run, and rising; with
    a fixed threshold and two heaps 121 MB, and flat. A fixed one also gives back 128 kB and
    more at the end of the heap at once, to be cleared by the kernel a moment later: some are kept.
    Elsewhere than on glibc this does nothing.
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
    """Open what the caller has closed of 0, 1 and 2, before a socket takes the number.

    libuv refuses to close such descriptors: ``dispatcher run x <&-`` would abort.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
