"""Each file is a record; which files a run has is decided once."""

import os
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

import pytest

from dispatcher.config.connectors import SourceSettings
from dispatcher.config.packing import PackingSettings
from dispatcher.connectors.files import source as files
from dispatcher.connectors.files.source import STREAM, FilesSource, must_be_json
from dispatcher.errors import ConfigError, StateError
from dispatcher.records import json_records
from dispatcher.records.record import Item, LargeRecord, Position, Record, Unreadable
from dispatcher.records.source import Mark


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder, so that paths are short and have an order."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    return tmp_path


def write(**content: bytes) -> None:
    for name, raw in content.items():
        (Path("in") / name).write_bytes(raw)


def source_of(*paths: str, is_json: bool = False, longest: int = 1000) -> FilesSource:
    settings = SourceSettings(type="files", path=list(paths or ["in/*"]), max_record=longest)
    return FilesSource(settings, Path("ledger.db.files"), is_json=is_json, spill_folder=Path())


async def items_of(
    source: FilesSource,
    marks: Mapping[str, Mark] | None = None,
    heads: Mapping[str, str] | None = None,
) -> list[Item]:
    items: list[Item] = []
    await source.open(marks or {}, heads or {})
    while batch := await source.read():
        items += batch
    assert await source.read() == []
    await source.aclose()
    return items


def bad(items: list[Item]) -> list[tuple[object, str, str]]:
    return [(i.key, i.reason, i.message) for i in items if isinstance(i, Unreadable)]


async def test_each_file_is_a_record_as_it_is_in_the_order_of_their_names() -> None:
    write(b=b"\xff\xd8\n", a=b'{"a": 1}\n', c=b"  ")
    assert await items_of(source_of()) == [
        Record(Position(STREAM, 0, 5, 1), "in/a", b'{"a": 1}\n'),
        Record(Position(STREAM, 5, 10, 2), "in/b", b"\xff\xd8\n"),
        Record(Position(STREAM, 10, 15, 3), "in/c", b"  "),
    ]
    assert Path("ledger.db.files").read_bytes() == b"in/a\0in/b\0in/c\0"


async def test_a_restart_goes_on_in_the_list_whatever_came_since() -> None:
    write(b=b"b", d=b"d")
    source = source_of()
    heads = await source.open({}, {})
    first, second = await source.read()
    await source.aclose()
    write(a=b"a", c=b"c", e=b"e", d=b"D")
    at = first.position
    items = await items_of(source_of(), {STREAM: Mark(at.end, at.line)}, heads)
    assert items == [Record(second.position, "in/d", b"D")]
    # Nothing of it is settled or outstanding yet: what is there now counts.
    assert [item.key for item in await items_of(source_of())] == [f"in/{c}" for c in "abcde"]


async def test_another_list_is_not_gone_on_with() -> None:
    write(a=b"a")
    source = source_of()
    heads = await source.open({}, {})
    await source.aclose()
    Path("ledger.db.files").write_bytes(b"in/b\0")
    with pytest.raises(StateError, match="is not the one that it began with"):
        await source_of().open({STREAM: Mark(5, 1)}, heads)
    Path("ledger.db.files").unlink()
    with pytest.raises(StateError, match=r"cannot be read .*restore it"):
        await source_of().open({STREAM: Mark(5, 1)}, heads)


async def test_what_cannot_be_a_record_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    write(a=b"", b=b"x", c=b"12345", d=b"fine")
    os.mkfifo("in/e")
    Path("in/f").symlink_to("nowhere")
    Path("in/g").symlink_to("g")
    source = source_of(longest=4)
    await source.open({}, {})
    Path("in/b").unlink()
    Path("in/d").unlink()
    Path("in/d").mkdir()
    items: list[Item] = []
    while batch := await source.read():
        items += batch
    assert bad(items) == [
        ("in/a", "empty_file", "in/a is empty"),
        ("in/b", "missing_file", "in/b cannot be opened (No such file or directory)"),
        ("in/c", "too_large", "in/c is 5 bytes long, source.max_record is 4"),
        ("in/d", "unreadable_file", "in/d is no regular file"),
        ("in/e", "unreadable_file", "in/e is no regular file"),
        ("in/f", "missing_file", "in/f cannot be opened (No such file or directory)"),
        ("in/g", "unreadable_file", "in/g cannot be opened (Too many levels of symbolic links)"),
    ]
    assert [item.position.start for item in items[1:]] == [i.position.end for i in items[:-1]]


@pytest.mark.parametrize("call", ["open", "read"])
async def test_what_is_not_the_files_fault_stops_the_run(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(a=b"a")
    source = source_of()
    await source.open({}, {})

    def fail(*arguments: object) -> int:
        raise OSError(24, "Too many open files")

    source._files = iter(list(source._files))
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(StateError, match=r"in/a cannot be read \(Too many open files\)"):
        source.step()


async def test_a_file_that_is_being_written_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    write(a=b"abc", b=b"abc")
    read = os.read

    def grown(file: int, size: int) -> bytes:
        got = read(file, size)
        with Path("in/a").open("ab") as more:
            more.write(b"d")
        return got

    source = source_of()
    await source.open({}, {})
    listed = list(source._files)
    source._files = iter(listed)
    with monkeypatch.context() as patch:
        patch.setattr(os, "read", grown)
        items = source.step()
    assert bad(items)[0][:2] == ("in/a", "changed_file")
    assert isinstance(items[1], Record)


async def test_json_is_checked_and_put_on_one_line() -> None:
    write(
        a=b'\xef\xbb\xbf{\r\n "a": 1\n}\n', b=b"{\n1}", c=b" \n", d=b'"\xff"', e=b"1 2", f=b'["ok"]'
    )
    a, *others, f = await items_of(source_of(is_json=True))
    assert (a.key, a.raw) == ("in/a", b'{   "a": 1 }')
    assert f.raw == b'["ok"]'
    assert bad(others) == [
        ("in/b", "bad_json", mock.ANY),
        ("in/c", "empty_file", "in/c holds blanks only"),
        ("in/d", "bad_utf8", "in/d: not UTF-8 at byte 2 of the record"),
        ("in/e", "bad_json", mock.ANY),
    ]
    assert bad(others)[0][2].startswith("in/b, line 2, column 1: not JSON, ")


@pytest.fixture
def small_is_large() -> object:
    """Let files of ten bytes be large, and be read in blocks of four."""
    with (
        mock.patch.object(files, "LARGE_BYTES", 10),
        mock.patch.object(json_records, "LARGE_BYTES", 10),
        mock.patch.object(files, "BLOCK_BYTES", 4),
    ):
        yield


async def test_a_large_file_is_a_part_of_itself(small_is_large: object) -> None:
    write(a=b"123456789", b=b"1234567890", c=b"\xff" * 30, d=b"1")
    items = await items_of(source_of())
    assert [type(item) for item in items] == [Record, LargeRecord, LargeRecord, Record]
    assert [item.raw for item in items] == [b"123456789", b"1234567890", b"\xff" * 30, b"1"]
    assert [item.position.line for item in items] == [1, 2, 3, 4]


async def test_a_large_file_of_json_is_read_in_steps(small_is_large: object) -> None:
    write(
        a=b"1",
        b=b'{\n"a": "xxxxxxxxxxxxxxxxx"\n}\n',
        c=b"[1, 2, 3, 4, 5 6]",
        d=b" " * 20,
        e=b" " * 20 + b"5",
        f=b'"\xffaaaaaaaaaaaaaaa"',
        g=b"2",
    )
    items = await items_of(source_of(is_json=True))
    a, b, c, d, e, f, g = items
    assert isinstance(b, LargeRecord)
    assert (b.key, b.raw) == ("in/b", b'{ "a": "xxxxxxxxxxxxxxxxx" }')
    assert isinstance(e, Record), "it is small without its blanks"
    assert [i.raw for i in (a, e, g)] == [b"1", b"5", b"2"]
    assert bad([c, d, f]) == [
        ("in/c", "bad_json",
         "in/c: the record of 17 bytes is not JSON at its byte 16, a comma or an end was expected"),
        ("in/d", "empty_file", "in/d holds blanks only"),
        ("in/f", "bad_utf8", "in/f: not UTF-8 at byte 2 of the record"),
    ]  # fmt: skip
    ends = [0, *(item.position.end for item in items)]
    assert [item.position.start for item in items] == ends[:-1]


async def test_a_large_file_of_json_that_changes_is_reported(small_is_large: object) -> None:
    write(a=b"[" + b"1," * 20 + b"1]", b=b"1")
    source = source_of(is_json=True)
    await source.open({}, {})
    while source._long is None:
        assert source.step() == []
    source.step()
    write(a=b"[]")
    items = source.step() or source.step()
    assert bad(items) == [("in/a", "changed_file", mock.ANY)]
    assert [item.key for item in await source.read()] == ["in/b"]


async def test_a_source_may_be_closed_amid_a_large_file(small_is_large: object) -> None:
    write(a=b"[" + b"1," * 20 + b"1]")
    before = len(list(Path("/proc/self/fd").iterdir()))
    source = source_of(is_json=True)
    await source.open({}, {})
    assert source.step() == []
    await source.aclose()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert await source.read() == []


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("in", r"in is a folder; to read the files in it, write in/\*"),
        ("-", "no standard input"),
        ("out/*", "no file matches"),
        ("nothing", "does not exist"),
    ],
)
async def test_a_path_that_means_nothing_is_a_mistake(path: str, expected: str) -> None:
    write(a=b"1")
    with pytest.raises(ConfigError, match=expected):
        await source_of("in/*", path).open({}, {})
    assert not Path("ledger.db.files").exists()


def test_a_ladder_with_raw_takes_any_file() -> None:
    of_files = SourceSettings(type="files", path=["in/*"])
    assert must_be_json(of_files, PackingSettings(encodings=["json", "msgpack"]))
    assert not must_be_json(of_files, PackingSettings(encodings=["json", "raw"]))
    assert must_be_json(SourceSettings(path=["in"]), PackingSettings(encodings=["raw"]))
