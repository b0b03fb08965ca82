"""Match glob patterns one path at a time: a folder of millions is never held at once."""

import fnmatch
import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path

from dispatcher.errors import ConfigError

_ANY_FOLDERS = "**"


def matching_files(path: str) -> Iterator[str]:
    """Yield the files that a path of the configuration matches, in any order, some perhaps twice.

    The rules are those of ``glob.glob`` with ``recursive``: ``*`` leaves out names that begin with
    a dot, and ``**`` is any number of folders, but none behind a symbolic link. A path that exists
    is taken as it is, even if it looks like a pattern.

    Raises:
        ConfigError: The path does not exist, is a folder, or matches no file; or a folder cannot be
            read.
    """
    if Path(path).is_dir():
        raise ConfigError(
            f"source.path: {path} is a folder; to read the files in it, write {Path(path) / '*'}"
        )
    if os.path.lexists(path):
        yield path
        return
    if not glob.has_magic(path):
        raise ConfigError(f"source.path: {path} does not exist; correct the path or remove it")
    root = "/" if path.startswith("/") else ""
    paths = _below(root, [part for part in path.split("/") if part])
    first = next(paths, None)
    if first is None:
        raise ConfigError(f"source.path: no file matches {path}; correct the pattern or remove it")
    yield first
    yield from paths


def _below(folder: str, parts: list[str]) -> Iterator[str]:
    """Yield the files below a folder that match the parts of a pattern.

    Args:
        folder: With a slash at its end; ``""`` is the current folder.
        parts: The rest of the pattern, split at its slashes.
    """
    part, *rest = parts
    if part == _ANY_FOLDERS:
        yield from _below(folder, rest or ["*"])
        for entry in _entries(folder):
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                yield from _below(folder + entry.name + "/", parts)
    elif not glob.has_magic(part):
        if rest:
            if Path(folder + part).is_dir():
                yield from _below(f"{folder}{part}/", rest)
        elif os.path.lexists(folder + part) and not Path(folder + part).is_dir():
            yield folder + part
    else:
        is_match = re.compile(fnmatch.translate(part)).match
        hidden = part.startswith(".")
        for entry in _entries(folder):
            if not is_match(entry.name) or (entry.name.startswith(".") and not hidden):
                continue
            if not rest:
                if not _is_folder(entry):
                    yield folder + entry.name
            elif _is_folder(entry):
                yield from _below(f"{folder}{entry.name}/", rest)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a symbolic link in a circle
        return False


def _entries(folder: str) -> Iterator["os.DirEntry[str]"]:
    try:
        with os.scandir(folder or ".") as entries:
            yield from entries
    except OSError as error:
        raise ConfigError(
            f"source.path: the folder {folder or '.'} cannot be read ({error.strerror}); correct "
            "the pattern or its permissions"
        ) from None
