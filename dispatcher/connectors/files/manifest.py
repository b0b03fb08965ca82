"""Manifest of a run's files: written once, sorted, and read from a mark. Never held in memory."""

import heapq
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

from dispatcher.connectors.files.globbing import matching_files
from dispatcher.errors import ConfigError, StateError
from dispatcher.records.source import START, Mark

_END = b"\0"
"""Ends a path; no path can contain it."""

_SORTED_BYTES = 8_000_000
"""How much is sorted in memory at once; paths take about five times their bytes there."""

_BLOCK_BYTES = 65_536
"""How much of a manifest is read at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestEntry:
    """A file in the manifest.

    Attributes:
        path: As the configuration names it, or as a pattern expanded it.
        start: Where it begins in the manifest, in bytes.
        end: Where the next one begins, in bytes.
        number: Its place in the manifest, from 1.
    """

    path: str
    start: int
    end: int
    number: int


def write_manifest(patterns: Sequence[str], manifest: Path) -> None:
    """Write the files that patterns match, each path once, in the order of their names' bytes.

    The manifest is complete and durable, or does not exist.

    Raises:
        ConfigError: A pattern matches nothing or something that cannot be read; or the manifest
            cannot be written.
    """
    try:
        with ExitStack() as stack:
            runs: list[Iterable[bytes]] = []
            batch: list[bytes] = []
            size = 0
            for path in _expanded(patterns):
                batch.append(path)
                size += len(path)
                if size >= _SORTED_BYTES:
                    runs.append(_sorted_run(stack, sorted(batch), manifest.parent))
                    batch, size = [], 0
            runs.append(sorted(batch))
            _write(manifest, (path for path, _ in groupby(heapq.merge(*runs))))
    except OSError as error:
        raise ConfigError(
            f"the list of files {manifest} cannot be written ({error.strerror}); make room there, "
            "or name another file in ledger.path"
        ) from error


def _expanded(patterns: Sequence[str]) -> Iterator[bytes]:
    for pattern in patterns:
        if pattern == "-":
            raise ConfigError("source.path: type files reads no standard input (-); remove it")
        for path in matching_files(pattern):
            try:
                yield path.encode()
            except UnicodeEncodeError:
                raise ConfigError(
                    f"source.path: the file name {os.fsencode(path)!r} is not UTF-8; rename it"
                ) from None


def _sorted_run(stack: ExitStack, paths: Sequence[bytes], folder: Path) -> Iterator[bytes]:
    file = stack.enter_context(tempfile.TemporaryFile(dir=folder))  # noqa: SIM115 - the stack's
    file.writelines(path + _END for path in paths)
    file.seek(0)
    return _split(file)


def _split(file: BinaryIO) -> Iterator[bytes]:
    rest = b""
    while block := file.read(_BLOCK_BYTES):
        *paths, rest = (rest + block).split(_END)
        yield from paths
    if rest:
        raise StateError("the list of files ends within a path")


def _write(manifest: Path, paths: Iterable[bytes]) -> None:
    new = manifest.with_name(manifest.name + ".new")
    with new.open("wb") as file:
        file.writelines(path + _END for path in paths)
        file.flush()
        os.fsync(file.fileno())
    new.replace(manifest)
    folder = os.open(manifest.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def fingerprint(manifest: Path) -> str:
    """Return the manifest's size and CRC-32.

    Raises:
        StateError: The manifest cannot be read.
    """
    crc = size = 0
    try:
        with manifest.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                crc = zlib.crc32(block, crc)
                size += len(block)
    except OSError as error:
        raise StateError(
            f"{manifest}, the list of this run's files, cannot be read ({error.strerror}): restore "
            "it, or begin a new run with another ledger.path"
        ) from None
    return f"{size}:{crc:08x}"


def read_manifest(manifest: Path, mark: Mark = START) -> Iterator[ManifestEntry]:
    """Yield the files of a manifest from a mark on; it stays open meanwhile."""
    with manifest.open("rb") as file:
        file.seek(mark.offset)
        start, number = mark.offset, mark.line
        for path in _split(file):
            number += 1
            end = start + len(path) + len(_END)
            yield ManifestEntry(path=path.decode(), start=start, end=end, number=number)
            start = end
