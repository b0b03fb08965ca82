"""Starting and measuring processes, and what machine this is.

It stays small, with the standard library only: on Linux the ``ru_maxrss`` of a child begins at the
size of the process that started it, which must be below that of any client.
"""

import contextlib
import http.client
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).parent.parent
BUSY = 0.7
"""A stub that works for more than this share of a run may be what is measured: it is flagged."""

_PACKAGES = ("aioboto3", "aiobotocore", "botocore", "boto3", "aiohttp", "httptools", "uvloop")


@dataclass(slots=True, frozen=True)
class Stub:
    """Addresses of a running stub: URLs, and the file of the CA to trust."""

    http: str
    https: str
    queue: str
    ca: str

    def environment(self, *, tls: bool = False) -> dict[str, str]:
        """Return what lets any AWS SDK talk to it, and nothing else of AWS's; no proxies."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("AWS_") and not name.lower().endswith("_proxy")
        }
        kept |= {
            "AWS_ENDPOINT_URL": self.https if tls else self.http,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "AKIDBENCHMARKS",
            "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
        return kept | ({"AWS_CA_BUNDLE": self.ca} if tls else {})


def ask(url: str, method: str, path: str) -> dict[str, Any]:
    """Ask the stub something; return its JSON."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request(method, path)
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer
    finally:
        connection.close()


def utilisation(stats: Mapping[str, Any]) -> float:
    """Return the share of the time between its first and last request that the stub worked."""
    return float(stats["cpu"]) / max(float(stats["busy"]), 1e-9)


@contextlib.contextmanager
def stub(*arguments: str) -> Iterator[Stub]:
    """Run the stub in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.stub", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
        try:
            assert process.stdout is not None
            yield Stub(**json.loads(process.stdout.readline()))
        finally:
            process.terminate()


@dataclass(slots=True, frozen=True)
class Usage:
    """The resources that a whole process took: seconds of wall and CPU, peak bytes."""

    wall: float
    cpu: float
    peak_bytes: int


def run(command: Sequence[str], environment: Mapping[str, str], *, limit: float = 600) -> Usage:
    """Run a process to its end and return what the system says it took.

    Raises:
        SystemExit: It failed, or took longer than ``limit`` seconds.
    """
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, env=dict(environment), cwd=ROOT, stdout=said, stderr=said
        )
        killer = threading.Timer(limit, process.kill)
        killer.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        killer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)  # it is waited for already
        if process.returncode:
            said.seek(0)
            text = said.read().decode(errors="replace")[-2000:]
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{text}")
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Usage(wall, usage.ru_utime + usage.ru_stime, peak)


def fsyncs_per_second(folder: Path, seconds: float = 1.0) -> float:
    """Return how often a second 4 kB can be appended to a file and synced to the disk."""
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        page, count = b"\0" * 4096, 0
        began = time.perf_counter()
        while (took := time.perf_counter() - began) < seconds:
            file.write(page)
            os.fsync(file.fileno())
            count += 1
    return count / took


def surroundings() -> dict[str, str]:
    """Return what a reader must know to compare: machine, versions, commit, command."""
    versions = []
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions.append(f"{package} {version(package)}")
    return {
        "command": _command(sys.argv),
        "commit": _commit(),
        "machine": f"{platform.system()} {platform.machine()}, {_cpu_model()}, "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f} at the start",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": ", ".join(versions),
    }


def _command(argv: Sequence[str]) -> str:
    """Return the command line, without folders that are only of this machine."""
    shown = ["python", "-m", f"benchmarks.{Path(argv[0]).stem}"]
    for word in argv[1:]:
        if shown[-1] in ("--dir", "--out"):
            shown.pop()
        elif not word.startswith(("--dir=", "--out=")):
            shown.append(word)
    return " ".join(shown)


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown CPU"


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return said.stdout.strip()

    changed = git("status", "--porcelain", "--", "dispatcher", "benchmarks")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" with changes" if changed else "")
