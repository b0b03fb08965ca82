"""Runs of the real command, forked by a process that has imported everything, with a disk to break.

The process lives in a mount namespace of its own, so that disks may be small, full or read-only
without being root and without leaving anything behind. It reads one JSON object a line::

    {"mount": ["-t", "tmpfs", "-o", "size=64k", "small", "/mnt/small"]}
    {"run": ["run", "w.yaml"], "folder": "/mnt"}

and answers each with one. A run may be asked to have lost the right to overrule permissions
(``"plain": true``), to have a file whose syncs fail once it has committed something so often
(``"unsynced": "results.jsonl", "after": 5``), or to be killed when its ledger shows that so many
records are completed and something is outstanding (``"killed": 20``).
"""

import ctypes
import errno
import json
import os
import platform
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import uvloop

from dispatcher import failpoints
from dispatcher.cli import ledger, run, status
from dispatcher.cli.main import program
from dispatcher.emulator import server
from dispatcher.ledger.check.status import read_status
from dispatcher.run import pipeline

IMPORTED = (pipeline, ledger, run, status, server, uvloop)
"""Modules that commands import when they need them: every fork finds them imported."""

_LIBC = ctypes.CDLL(None, use_errno=True)
_FSYNC = {"x86_64": (74, 75), "aarch64": (82, 83)}
"""Numbers of the system calls fsync and fdatasync."""

_SECCOMP = {"x86_64": 317, "aarch64": 277}
_CAPSET = {"x86_64": 126, "aarch64": 91}


def mount(arguments: list[str]) -> dict[str, Any]:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    return {"code": done.returncode, "said": done.stderr}


def fork(
    arguments: list[str],
    folder: str,
    *,
    plain: bool = False,
    unsynced: str | None = None,
    after: int = 0,
    killed: int | None = None,
) -> dict[str, Any]:
    """Run a command in a process of its own; return its exit code and what it wrote."""
    files = [os.memfd_create(name) for name in ("stdout", "stderr")]
    if not (child := os.fork()):
        code = 70
        try:
            os.chdir(folder)
            for number, file in enumerate(files, start=1):
                os.dup2(file, number)
            if plain:
                give_up_privileges()
            if unsynced is not None:
                break_syncs_of(Path(folder).resolve() / unsynced, after)
            if killed is not None:
                die_after(killed)
            program.main(arguments, prog_name="dispatcher")
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else code
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    out, said = (os.pread(file, 1_000_000, 0).decode() for file in files)
    for file in files:
        os.close(file)
    return {"code": code, "out": out, "said": said}


def give_up_privileges() -> None:
    """Make permissions count, as they do for every user but root."""
    nothing = struct.pack("6I", *[0] * 6)
    header = struct.pack("Ii", 0x20080522, 0)
    if _LIBC.syscall(_CAPSET[platform.machine()], header, nothing):
        raise OSError(ctypes.get_errno(), "capset")


def break_syncs_of(path: Path, commits: int) -> None:
    """Let every sync of a file fail as on a broken disk, once it is open after some commits."""
    is_broken, left = False, commits

    def hook(name: str) -> None:
        nonlocal is_broken, left
        left -= name == "ledger.committed"
        if left <= 0 and not is_broken and (file := opened(path)) is not None:
            is_broken = True
            refuse_syncs(file)

    failpoints.hooks.append(hook)


def die_after(completed: int) -> None:
    """Let a run be killed right after a commit, in the middle of its records."""

    def hook(name: str) -> None:
        if name == "ledger.committed":
            shown = read_status(Path("state/ledger.db"))
            if shown.completed >= completed and shown.dead and shown.outstanding_records:
                os.kill(os.getpid(), signal.SIGKILL)

    failpoints.hooks.append(hook)


def opened(path: Path) -> int | None:
    for link in Path("/proc/self/fd").iterdir():
        try:
            if link.readlink() == path:
                return int(link.name)
        except FileNotFoundError:  # what listed them
            continue
    return None


def refuse_syncs(file: int) -> None:
    """Let the kernel answer EIO to all threads that sync this file (seccomp, a BPF program)."""
    load, equal, give = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
    number, first_argument = 0, 16  # offsets in struct seccomp_data
    fsync, fdatasync = _FSYNC[platform.machine()]
    code = [
        (load, 0, 0, number),
        (equal, 1, 0, fsync),
        (equal, 0, 3, fdatasync),
        (load, 0, 0, first_argument),
        (equal, 0, 1, file),
        (give, 0, 0, 0x00050000 | errno.EIO),  # SECCOMP_RET_ERRNO
        (give, 0, 0, 0x7FFF0000),  # SECCOMP_RET_ALLOW
    ]
    rules = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
    filters = struct.pack("HxxxxxxP", len(code), ctypes.addressof(rules))
    no_new_privileges, set_filter, all_threads = 38, 1, 1
    if _LIBC.prctl(no_new_privileges, 1, 0, 0, 0) or _LIBC.syscall(
        _SECCOMP[platform.machine()], set_filter, all_threads, filters
    ):
        raise OSError(ctypes.get_errno(), "seccomp")


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        answer = mount(order["mount"]) if "mount" in order else fork(order.pop("run"), **order)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
