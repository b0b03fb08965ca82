"""Send one record that is far larger than memory may be, and watch the memory of the run.

    python -m tests.faults.large --megabytes 900 --source files --encoding raw
    python -m tests.faults.large --megabytes 900 --source jsonl --encoding json+zstd --join both
    python -m tests.faults.large --megabytes 900 --source jsonl --kill

The record is the second of three. The emulator is a process of its own, whose model answers with
length and SHA-256 of what it got; measured are the resident memory of ``dispatcher run`` and the
disk that it takes besides its input. With ``--kill`` the run is killed with SIGKILL, and started
again, when the record is in the spool, in the middle of its upload, and when its line is written;
after the second time half of the spool is lost, as with the power.
"""

import argparse
import base64
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import psutil
import zstandard

from dispatcher import failpoints
from dispatcher.emulator.models.model import ModelRequest
from tests.faults import crash

MOST_MEGABYTES = 300
_PIECE = 999_999  # divisible by three, so that base64 can be made piece by piece
_LONG_UPLOAD = 200_000_000
"""From here on there is time to kill the run in the middle of the upload; else where it begins."""

_LOST_BEFORE = 2
"""Before this process of the run half of the spool is lost, as with the power."""

_LOOK_SECONDS = 0.02
_MOST_SECONDS = 900
_ZSTD = "; encoding=zstd"


def measure(request: ModelRequest) -> bytes:
    """Answer as the model: what was it that came?"""
    digest, length, kind = hashlib.sha256(), 0, request.content_type or ""
    pieces: Iterator[bytes] = iter([request.body])
    if kind.endswith(_ZSTD):
        pieces = zstandard.ZstdDecompressor().read_to_iter(request.body)
    for piece in pieces:
        digest.update(piece)
        length += len(piece)
    return json.dumps({"sha256": digest.hexdigest(), "length": length, "type": kind}).encode()


@dataclass(slots=True)
class Made:
    """The large record.

    Attributes:
        key: Its key.
        length: Its bytes.
        sha256: Of its bytes.
    """

    key: str
    length: int = 0
    sha256: str = ""


@dataclass(slots=True)
class Seen:
    """Observations of the run's processes.

    Attributes:
        peak: Most resident bytes.
        disk: Most bytes of files beside the input, those without a name included.
        seconds: From start to end.
        kills: Processes that were killed.
    """

    peak: int = 0
    disk: int = 0
    seconds: float = 0.0
    kills: int = 0
    codes: list[int] = field(default_factory=list)


def _noise(length: int) -> Iterator[bytes]:
    """Yield pieces that do not compress, the same each time."""
    rng = random.Random(length)
    for start in range(0, length, _PIECE):
        yield rng.randbytes(min(_PIECE, length - start))


def make_files(folder: Path, length: int) -> Made:
    """Write three files; the one in the middle is large."""
    (folder / "in").mkdir()
    for name in ("a", "c"):
        (folder / "in" / name).write_bytes(b"small \xff " + name.encode())
    path = folder / "in" / "b"
    made, digest = Made(str(path), length), hashlib.sha256()
    with path.open("wb") as file:
        for piece in _noise(length):
            digest.update(piece)
            file.write(piece)
    made.sha256 = digest.hexdigest()
    return made


def make_lines(folder: Path, length: int, *, is_file: bool) -> Made:
    """Write three records of JSON, as lines or a file each; the one in the middle is large."""
    made, digest = Made("b", length), hashlib.sha256()
    if is_file:
        (folder / "in").mkdir()
        made.key = str(folder / "in" / "b")
    small = {name: b'{"id": "%b", "x": "small"}' % name.encode() for name in ("a", "c")}
    for name, raw in small.items():
        if is_file:
            (folder / "in" / name).write_bytes(raw)
    with (folder / "in" / "b" if is_file else folder / "in.jsonl").open("wb") as file:
        if not is_file:
            file.write(small["a"] + b"\n")
        for piece in _json_pieces(length):
            digest.update(piece)
            file.write(piece)
        file.write(b"\n" if is_file else b"\n" + small["c"] + b"\n")
    made.sha256 = digest.hexdigest()
    return made


def _json_pieces(length: int) -> Iterator[bytes]:
    head, tail = b'{"id": "b", "x": "', b'"}'
    text = length - len(head) - len(tail)
    yield head
    for piece in _noise(text // 4 * 3):
        yield base64.b64encode(piece)
    yield b"A" * (text % 4) + tail


def configure(folder: Path, exported: dict[str, str], options: argparse.Namespace) -> Path:
    """Write the configuration."""
    path = {"files": f"{folder}/in/*", "jsonl": f"{folder}/in.jsonl", "stdin": "-"}[options.source]
    source: dict[str, Any] = {"type": "files", "path": path, "key": None, "max_record": "1GB"}
    if options.source != "files":
        source |= {"type": "jsonl", "key": "id"}
    return crash.configure(
        folder,
        exported,
        source=source,
        packing={"encodings": [options.encoding]},
        sink={"join": options.join},
        completion={"sweep_after": "2s"},
    )


def lose_power(folder: Path) -> None:
    """Take from the spool what a power loss may: it is not synced."""
    for path in (folder / "state").glob("*.spool/*"):
        os.truncate(path, path.stat().st_size // 2)


def run(
    folder: Path,
    config: Path,
    exported: dict[str, str],
    source: str,
    seen: Seen,
    *,
    failpoint: str | None = None,
    kill_when: Callable[[], bool] | None = None,
) -> None:
    """Run one process to its end, or until it has to be killed."""
    environment = {**os.environ, **exported}
    if failpoint is not None:
        environment[failpoints.VARIABLE] = failpoint
    began = time.monotonic()
    with (folder / "in.jsonl" if source == "stdin" else Path(os.devnull)).open("rb") as stdin:
        process = subprocess.Popen(
            [sys.executable, "-m", "dispatcher", "run", str(config), "--progress", "none"],
            env=environment,
            stdin=subprocess.PIPE if source == "stdin" else subprocess.DEVNULL,
        )
        feeder = _feeder(process, stdin) if source == "stdin" else None
        while process.poll() is None:
            _look(process.pid, folder, seen)
            if kill_when is not None and kill_when():
                process.kill()
                process.wait()
            if time.monotonic() - began > _MOST_SECONDS:
                process.kill()
                raise SystemExit("the run does not end")
            time.sleep(_LOOK_SECONDS)
        if feeder is not None:
            feeder.kill()
            feeder.wait()
    seen.seconds += time.monotonic() - began
    seen.kills += process.returncode == -signal.SIGKILL
    seen.codes.append(process.returncode)


def _feeder(process: subprocess.Popen[bytes], stdin: BinaryIO) -> subprocess.Popen[bytes]:
    """Fill the pipe from a process of its own, as another program would."""
    assert process.stdin is not None
    feeder = subprocess.Popen(["cat"], stdin=stdin, stdout=process.stdin, stderr=subprocess.DEVNULL)
    process.stdin.close()
    return feeder


def _look(pid: int, folder: Path, seen: Seen) -> None:
    try:
        seen.peak = max(seen.peak, psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        return
    files = [*folder.glob("state/**/*"), folder / "results.jsonl", folder / "dead.jsonl"]
    size = 0
    for path in (*files, *Path(f"/proc/{pid}/fd").glob("*")):
        try:
            found = path.stat()
        except OSError:
            continue
        is_of_interest = path.is_relative_to(folder) or found.st_nlink == 0
        size += found.st_size if is_of_interest and not path.is_dir() else 0
    seen.disk = max(seen.disk, size)


def wrong_lines(folder: Path, made: Made, join: str, *, is_json: bool) -> Iterator[str]:
    """Yield what is wrong with the results; the large line is read piece by piece."""
    keys = []
    with (folder / "results.jsonl").open("rb") as file:
        for head, digest, length in _lines(file):
            line = json.loads(head)
            keys.append(line["key"])
            if line["key"] != made.key:
                continue
            if join != "input" and (line["output"]["sha256"], line["output"]["length"]) != (
                made.sha256,
                made.length,
            ):
                yield f"the model got something else: {line['output']}"
            if join != "output" and (digest, length) != (made.sha256, made.length):
                yield f"the line holds another input, of {length} bytes"
    others = [made.key.removesuffix("b") + name for name in "abc"]
    if sorted(keys) != others:
        yield f"there are lines for {keys}"
    if dead := (folder / "dead.jsonl").read_bytes():
        yield f"dead letters: {dead[:300]!r}"


def _lines(file: BinaryIO) -> Iterator[tuple[bytes, str, int]]:
    """Yield each line without its input, and of the input SHA-256 and length."""
    while head := file.readline(4_096):
        mark = b',"input":'
        at = head.find(mark)
        if at < 0 or head.endswith(b"\n"):
            yield head, "", 0
            continue
        is_encoded = head.startswith(b'{"base64":"', at + len(mark))
        rest = head[at + len(mark) + (len(b'{"base64":"') if is_encoded else 0) :]
        digest, length = hashlib.sha256(), 0
        end = b'"}}\n' if is_encoded else b"}\n"
        while True:
            more = b"" if rest.endswith(b"\n") else file.readline(4 * _PIECE)
            data = rest + more
            last = data.endswith(b"\n")
            stop = len(data) - len(end) if last else max(0, len(data) - 8) // 4 * 4
            piece = base64.b64decode(data[:stop]) if is_encoded else data[:stop]
            digest.update(piece)
            length += len(piece)
            rest = data[stop:]
            if last:
                break
        yield head[:at] + b"}", digest.hexdigest(), length


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=900)
    parser.add_argument("--source", choices=["files", "jsonl", "stdin"], default="files")
    parser.add_argument("--encoding", help="default: raw for files, else json")
    parser.add_argument("--join", choices=["output", "input", "both"], default="output")
    parser.add_argument("--kill", action="store_true", help="kill the run three times")
    parser.add_argument("--most", type=int, default=MOST_MEGABYTES, help="resident megabytes")
    options = parser.parse_args()
    options.encoding = options.encoding or ("raw" if options.source == "files" else "json")
    length: int = options.megabytes * 1_000_000
    is_json = options.encoding != "raw"
    seen = Seen()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if is_json:
            made = make_lines(folder, length, is_file=options.source == "files")
        else:
            made = make_files(folder, length)
        cloud = ("--state", str(folder / "s3"), "--model", "tests.faults.large:measure")
        with crash.emulator(folder, *cloud) as exported:
            config = configure(folder, exported, options)

            def is_half_uploaded() -> bool:
                incoming = (path.stat().st_size for path in (folder / "s3").rglob("incoming/*"))
                try:
                    return sum(incoming) > length // 2
                except OSError:
                    return False

            interruptions: list[dict[str, Any]] = [{}]
            if options.kill:
                uploading: dict[str, Any] = {"kill_when": is_half_uploaded}
                if length < _LONG_UPLOAD:
                    uploading = {"failpoint": "dispatch.staging"}
                interruptions = [
                    {"failpoint": "ledger.spooled:2"},
                    uploading,
                    {"failpoint": "sink.appended"},
                    {},
                ]
            for number, interruption in enumerate(interruptions):
                if number == _LOST_BEFORE:
                    lose_power(folder)
                run(folder, config, exported, options.source, seen, **interruption)
        wrong = list(wrong_lines(folder, made, options.join, is_json=is_json))
    expected = [*[-signal.SIGKILL] * (len(interruptions) - 1), 0]
    if seen.codes != expected:
        wrong.append(f"exit codes {seen.codes}, and not {expected}")
    if seen.peak > options.most * 1_000_000:
        wrong.append(f"more than {options.most} MB of memory")
    killed = f", killed {seen.kills} times" if options.kill else ""
    print(
        f"{options.source}, {options.encoding}, join {options.join}{killed}: a record of "
        f"{options.megabytes} MB, peak {seen.peak / 1e6:.0f} MB of memory, "
        f"{seen.disk / 1e6:,.0f} MB of disk, {seen.seconds:.1f} s; "
        f"{'; '.join(wrong) or 'all right'}"
    )
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
