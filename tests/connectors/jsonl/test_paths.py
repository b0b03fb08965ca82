"""Paths become streams, or a sentence that says what to change."""

import os
from pathlib import Path

import pytest

from dispatcher.connectors.jsonl.paths import InputStream, expand, inspect_streams
from dispatcher.errors import ConfigError, StateError
from dispatcher.records.source import Mark


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("in/b.jsonl", "in/a.jsonl", "in/deep/er/c.jsonl", "x[1].jsonl"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"1\n")
    return tmp_path


def test_globs_are_sorted_and_lists_keep_their_order() -> None:
    assert expand(["in/*.jsonl"]) == ["in/a.jsonl", "in/b.jsonl"]
    assert expand(["in/b.jsonl", "-", "in/a.jsonl"]) == ["in/b.jsonl", "-", "in/a.jsonl"]


def test_two_stars_go_into_folders() -> None:
    assert expand(["in/**/*.jsonl"]) == ["in/a.jsonl", "in/b.jsonl", "in/deep/er/c.jsonl"]
    assert expand(["in/**"]) == ["in/a.jsonl", "in/b.jsonl", "in/deep/er/c.jsonl"]


def test_a_file_named_twice_is_read_once() -> None:
    Path("link.jsonl").symlink_to("in/a.jsonl")
    paths = ["in/b.jsonl", "in/*.jsonl", "./in/a.jsonl", "link.jsonl"]
    assert expand(paths) == ["in/b.jsonl", "in/a.jsonl"]


def test_a_name_that_looks_like_a_glob_may_be_a_file() -> None:
    assert expand(["x[1].jsonl"]) == ["x[1].jsonl"]


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["missing.jsonl"], "missing.jsonl does not exist"),
        (["in/*.csv"], r"no file matches in/\*.csv"),
        (["in/d*"], r"no file matches in/d\*"),
        (["in"], r"in is a folder; .* in/\*.jsonl"),
        (["-", "-"], "twice"),
    ],
)
def test_mistakes_are_reported(paths: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        expand(paths)


def test_names_that_are_not_utf8_are_refused() -> None:
    Path(os.fsdecode(b"\xff.jsonl")).write_bytes(b"1\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        expand(["*.jsonl"])


def look(path: str, marks: dict[str, Mark] | None = None) -> list[InputStream]:
    return inspect_streams([path], stdin=-1, marks=marks or {}, heads={}, compression=None)


def test_sizes_are_those_on_disk() -> None:
    assert [(s.name, s.size) for s in look("in/*.jsonl")] == [("in/a.jsonl", 2), ("in/b.jsonl", 2)]
    os.mkfifo("pipe")
    assert look("pipe") == [InputStream("pipe", None)]


def test_a_file_that_cannot_be_opened_is_a_mistake() -> None:
    Path("loop").symlink_to("loop")
    with pytest.raises(ConfigError, match="loop cannot be read"):
        look("loop")


def test_a_plain_file_shorter_than_its_mark_is_another_file() -> None:
    # Its last line has no break, and counts one byte for it all the same.
    assert look("in/a.jsonl", {"in/a.jsonl": Mark(3, 1)})
    with pytest.raises(StateError, match=r"in/a.jsonl has 2 bytes of content, but 4"):
        look("in/a.jsonl", {"in/a.jsonl": Mark(4, 1)})


def test_a_file_keeps_the_name_by_which_it_is_known() -> None:
    Path("in/0.jsonl").symlink_to("b.jsonl")
    assert expand(["in/*.jsonl"]) == ["in/0.jsonl", "in/a.jsonl"]
    assert expand(["in/*.jsonl"], {"in/b.jsonl"}) == ["in/b.jsonl", "in/a.jsonl"]
