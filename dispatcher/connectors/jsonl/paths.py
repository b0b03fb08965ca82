"""Streams from the paths of a configuration: files that exist, each once."""

import glob
import os
import stat
import zlib
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dispatcher.errors import ConfigError, StateError
from dispatcher.flow.decompression import MAGIC_BYTES, Compression, detect
from dispatcher.records.source import START, Mark

_HEAD_BYTES = 4096
"""How much of a file's beginning is compared, to recognise it."""

STDIN = "-"
"""The path, and the name of the stream, of standard input."""


@dataclass(frozen=True, slots=True)
class InputStream:
    """One file, pipe or standard input, as it was at the start.

    Attributes:
        name: The path as written, or as a glob expanded it.
        size: Bytes on disk; None where that is unknown (pipes, terminals).
        head: Fingerprint of the first bytes; None where they cannot be read without using them.
    """

    name: str
    size: int | None
    head: str | None = None


def expand(paths: Sequence[str], known: Container[str] = ()) -> list[str]:
    """Return the paths of all files, in the order of the configuration, those of a glob sorted.

    A path that exists is taken as it is, even if it looks like a glob. A file that is named twice
    (by two globs, or through a symbolic link) is returned once, under the name in ``known`` if
    there is one, else under the first.

    Raises:
        ConfigError: A path does not exist, is a folder, or a glob matches no file.
    """
    names: dict[str, str] = {}
    for path in paths:
        if path == STDIN:
            if STDIN in names:
                raise ConfigError("source.path names standard input (-) twice; name it once")
            names[STDIN] = STDIN
            continue
        for name in _matches(path):
            try:
                name.encode()
            except UnicodeEncodeError:
                raise ConfigError(
                    f"source.path: the file name {os.fsencode(name)!r} is not UTF-8; rename it"
                ) from None
            file = os.path.realpath(name)
            if file not in names or (name in known and names[file] not in known):
                names[file] = name
    return list(names.values())


def _matches(path: str) -> Iterable[str]:
    if Path(path).is_dir():
        raise ConfigError(
            f"source.path: {path} is a folder; to read the files in it, write "
            f"{Path(path) / '*.jsonl'}"
        )
    if os.path.lexists(path):
        return [path]
    if not glob.has_magic(path):
        raise ConfigError(f"source.path: {path} does not exist; correct the path or remove it")
    # Path.glob needs a folder to begin at and changes the names as written.
    names = glob.glob(path, recursive=True)  # noqa: PTH207
    files = sorted(name for name in names if not Path(name).is_dir())
    if not files:
        raise ConfigError(f"source.path: no file matches {path}; correct the pattern or remove it")
    return files


def inspect_streams(
    paths: Sequence[str],
    *,
    stdin: int,
    marks: Mapping[str, Mark],
    heads: Mapping[str, str],
    compression: Compression | None,
) -> list[InputStream]:
    """Check everything that can be checked before the first byte is used; return the streams.

    Args:
        paths: As in the configuration.
        stdin: File descriptor of standard input.
        marks: Where streams are resumed.
        heads: Fingerprints of the streams when an earlier process began to read them.
        compression: Of all files; None decides by each file's first bytes.

    Raises:
        ConfigError: See ``expand``; or a file cannot be opened.
        StateError: A file is shorter than its mark, or begins with other bytes than before.
    """
    streams = []
    for name in expand(paths, marks):
        try:
            mark, head = marks.get(name, START), heads.get(name)
            streams.append(_check(name, stdin, mark, head, compression))
        except OSError as error:
            raise ConfigError(
                f"source.path: {name} cannot be read ({error.strerror}); "
                "correct the path or its permissions"
            ) from None
    return streams


def _check(
    name: str, stdin: int, mark: Mark, head: str | None, compression: Compression | None
) -> InputStream:
    status = os.fstat(stdin) if name == STDIN else Path(name).stat()
    if not stat.S_ISREG(status.st_mode):
        return InputStream(name, None)
    if name == STDIN:
        return InputStream(name, status.st_size)
    file = os.open(name, os.O_RDONLY)
    try:
        first = os.pread(file, _HEAD_BYTES, 0)
    finally:
        os.close(file)
    kind = compression or detect(first[:MAGIC_BYTES])
    # A last line without a line break counts one byte more, so that it may get one later.
    if kind == "none" and status.st_size + 1 < mark.offset:
        raise shorter_error(name, mark, status.st_size)
    if head is not None and _head(first[: int(head.partition(":")[0])]) != head:
        raise changed_error(name)
    return InputStream(name, status.st_size, _head(first))


def _head(first: bytes) -> str:
    return f"{len(first)}:{zlib.crc32(first):08x}"


def changed_error(name: str) -> StateError:
    """Return the error for input that differs from what was read before."""
    what = "standard input" if name == STDIN else name
    return StateError(
        f"{what} changed since this run read from it; a file may grow by whole lines, nothing "
        "else. Restore it, or begin a new run with another ledger.path (and sink.path)"
    )


def shorter_error(name: str, mark: Mark, size: int) -> StateError:
    """Return the error for input that ends before its mark.

    Args:
        name: The stream.
        mark: Where it is resumed.
        size: Of its content, in bytes.
    """
    what = "standard input" if name == STDIN else name
    return StateError(
        f"{what} has {size} bytes of content, but {mark.offset} bytes of it are settled: it is "
        "not the input that this run began with; restore it, or start a new run with a new ledger"
    )
