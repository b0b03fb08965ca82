"""Files and pipes, one after the other, as they behave in practice."""

# Small files on a local disk may block a test.

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
import zstandard

from dispatcher.config.connectors import SourceSettings
from dispatcher.connectors.jsonl.source import JsonlSource
from dispatcher.errors import ConfigError, StateError
from dispatcher.records.record import Item, Record, Unreadable
from dispatcher.records.source import Mark


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    out, into = os.pipe()
    yield out, into
    os.close(out)


async def read_all(source: JsonlSource, marks: dict[str, Mark] | None = None) -> list[Item]:
    items: list[Item] = []
    try:
        await source.open(marks or {}, {})
        while batch := await source.read():
            items += batch
    finally:
        await source.aclose()
    return items


def source_of(*paths: str, stdin: int = -1, key: str | None = None) -> JsonlSource:
    return JsonlSource(SourceSettings(path=list(paths), key=key), stdin=stdin)


async def test_files_of_all_kinds_follow_each_other() -> None:
    Path("a.jsonl").write_bytes(b"1\n2")
    Path("b.jsonl").write_bytes(gzip.compress(b"3\n"))
    Path("c.jsonl").write_bytes(zstandard.ZstdCompressor().compress(b"4"))
    Path("d.jsonl").write_bytes(b"")
    source = source_of("*.jsonl")
    items = await read_all(source)
    assert [(item.key, item.raw) for item in items] == [
        ("a.jsonl:1", b"1"),
        ("a.jsonl:2", b"2"),
        ("b.jsonl:1", b"3"),
        ("c.jsonl:1", b"4"),
    ]
    assert (
        source.bytes_read
        == source.bytes_expected
        == sum(path.stat().st_size for path in Path().iterdir())
    )


async def test_an_empty_file_has_no_records() -> None:
    Path("a.jsonl").touch()
    assert await read_all(source_of("a.jsonl")) == []


async def test_a_missing_file_is_reported_before_anything_is_read() -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        await source_of("a.jsonl").open({}, {})


async def test_each_stream_goes_on_from_its_own_mark() -> None:
    Path("a.jsonl").write_bytes(b"1\n2\n")
    Path("b.jsonl").write_bytes(b"3\n4\n")
    source = source_of("a.jsonl", "b.jsonl")
    items = await read_all(source, {"a.jsonl": Mark(4, 2), "b.jsonl": Mark(2, 1)})
    assert [(item.key, item.raw) for item in items] == [("b.jsonl:2", b"4")]
    assert source.bytes_read == source.bytes_expected == 8


async def test_what_is_settled_counts_as_read() -> None:
    Path("a.jsonl").write_bytes(b"1\n" * 100_000)
    source = source_of("a.jsonl")
    await source.open({"a.jsonl": Mark(180_000, 90_000)}, {})
    assert await source.read()
    assert (source.bytes_read, source.bytes_expected) == (200_000, 200_000)
    await source.aclose()


async def test_a_file_is_read_up_to_the_end_that_is_found() -> None:
    path = Path("a.jsonl")
    path.write_bytes(b"1\n" * 200_000)
    source = source_of("a.jsonl")
    await source.open({}, {})
    items = await source.read()
    with path.open("ab") as more:
        more.write(b"2\n")
    while batch := await source.read():
        items += batch
    assert items[-1].raw == b"2"
    assert source.bytes_read == source.bytes_expected == 400_002
    await source.aclose()


async def test_batches_are_bounded() -> None:
    Path("small.jsonl").write_bytes(b"1\n" * 50_000)
    Path("large.jsonl").write_bytes((b'"%b"\n' % (b"x" * 99_998)) * 50)
    Path("huge.jsonl").write_bytes(b'"%b"\n' % (b"x" * 5_000_000))
    source = source_of("small.jsonl", "large.jsonl", "huge.jsonl")
    await source.open({}, {})
    sizes = []
    while batch := await source.read():
        assert len(batch) <= 2000
        sizes.append(sum(len(item.raw) for item in batch))
    await source.aclose()
    assert sizes[-1] == 5_000_002
    assert max(sizes[:-1]) <= 1_000_000


async def test_a_line_longer_than_allowed_is_a_dead_letter() -> None:
    Path("a.jsonl").write_bytes(b"1\n" + b"x" * 3_000_000 + b"\n2\n")
    settings = SourceSettings.model_validate({"path": "a.jsonl", "max_record": "1MB"})
    first, long, last = await read_all(JsonlSource(settings))
    assert isinstance(long, Unreadable)
    assert (long.reason, long.raw) == ("too_large", b"")
    assert "a.jsonl, line 2: the line at byte 2 is 3000000 bytes long" in long.message
    assert (first.raw, last.raw, last.key) == (b"1", b"2", "a.jsonl:3")


class TestDamage:
    """A damaged file costs what cannot be decoded, once, and nothing else."""

    CONTENT = b"".join(b"%d\n" % n for n in range(100_000))

    @pytest.fixture(autouse=True)
    def files(self, folder: Path) -> None:
        (folder / "a.gz").write_bytes(gzip.compress(self.CONTENT, mtime=0)[:-100])
        (folder / "b.jsonl").write_bytes(b"1\n")

    async def test_whole_lines_before_it_are_records(self) -> None:
        *records, damage, after = await read_all(source_of("a.gz", "b.jsonl"))
        assert len(records) > 50_000
        assert [item.raw for item in records] == self.CONTENT.split()[: len(records)]
        assert all(isinstance(item, Record) for item in records)
        assert isinstance(damage, Unreadable)
        assert damage.reason == "bad_compression"
        assert damage.position.start == records[-1].position.end
        assert damage.message.startswith(f"a.gz, line {len(records) + 1} (byte ")
        assert "ends too early" in damage.message
        assert after.key == "b.jsonl:1"

    async def test_it_is_found_again_until_it_is_settled(self) -> None:
        *_, last, damage, _after = await read_all(source_of("a.gz", "b.jsonl"))
        at = last.position
        again = await read_all(source_of("a.gz"), {"a.gz": Mark(at.end, at.line)})
        assert again == [damage]
        at = damage.position
        assert await read_all(source_of("a.gz"), {"a.gz": Mark(at.end, at.line)}) == []

    async def test_a_file_damaged_before_its_mark_is_another_file(self) -> None:
        marks = {"a.gz": Mark(len(self.CONTENT) + 1, 100_000)}
        with pytest.raises(StateError, match="start a new run"):
            await read_all(source_of("a.gz"), marks)

    async def test_a_wrong_compression_is_damage_from_the_start(self) -> None:
        settings = SourceSettings(path=["b.jsonl"], compression="gzip")
        (item,) = await read_all(JsonlSource(settings))
        assert isinstance(item, Unreadable)
        assert item.reason == "bad_compression"
        assert item.position.end > item.position.start


async def test_a_compressed_file_shorter_than_its_mark_is_another_file() -> None:
    Path("a.gz").write_bytes(gzip.compress(b"1\n"))
    with pytest.raises(StateError, match=r"a.gz has 2 bytes of content, but 4"):
        await read_all(source_of("a.gz"), {"a.gz": Mark(4, 1)})


async def test_a_file_that_vanishes_stops_the_run() -> None:
    Path("a.jsonl").write_bytes(b"1\n")
    source = source_of("a.jsonl")
    await source.open({}, {})
    Path("a.jsonl").unlink()
    with pytest.raises(StateError, match="restore it"):
        await source.read()
    await source.aclose()


async def test_compression_can_be_switched_off() -> None:
    Path("a.gz").write_bytes(gzip.compress(b"1\n"))
    items = await read_all(JsonlSource(SourceSettings(path=["a.gz"], compression="none")))
    assert {type(item) for item in items} == {Unreadable}


async def test_a_binary_file_is_dead_letters_without_its_bytes_piling_up() -> None:
    Path("noise").write_bytes(bytes(range(256)) * 4000 + b"\0" * 2_000_000)
    settings = SourceSettings.model_validate({"path": "noise", "max_record": "1MB"})
    items = await read_all(JsonlSource(settings))
    assert len(items) == 4001
    assert {item.reason for item in items if isinstance(item, Unreadable)} == {
        "bad_json",
        "bad_utf8",
        "too_large",
    }


class TestPipes:
    """A pipe is read as its writer writes."""

    async def test_what_is_there_comes_at_once(self, pipe: tuple[int, int]) -> None:
        out, into = pipe
        source = source_of("-", stdin=out)
        await source.open({}, {})
        assert source.bytes_expected is None
        os.write(into, b"1\n")
        assert [item.key for item in await source.read()] == ["-:1"]
        os.write(into, b"2\n3")
        assert [item.key for item in await source.read()] == ["-:2"]
        os.write(into, b"\n")
        assert [item.raw for item in await source.read()] == [b"3"]
        os.write(into, b"4")
        os.close(into)
        assert [item.raw for item in await source.read()] == [b"4"]
        assert await source.read() == []
        await source.aclose()
        assert os.fstat(out)

    async def test_several_batches_of_one_write_are_not_waited_for(
        self, pipe: tuple[int, int]
    ) -> None:
        out, into = pipe
        source = source_of("-", stdin=out)
        await source.open({}, {})
        os.write(into, b"1\n" * 5000)
        sizes = [len(await source.read()) for _ in range(3)]
        assert sizes == [2000, 2000, 1000]
        await source.aclose()
        os.close(into)

    async def test_a_named_pipe_without_a_writer_can_be_left(self) -> None:
        os.mkfifo("fifo")
        source = source_of("fifo")
        await source.open({}, {})
        async with anyio.create_task_group() as group:
            group.start_soon(source.read)
            # Opening takes a thread hop first, which counts as being blocked.
            while source._reader is None:
                await anyio.wait_all_tasks_blocked()
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        await source.aclose()

    async def test_a_silent_pipe_can_be_left(self, pipe: tuple[int, int]) -> None:
        out, into = pipe
        source = source_of("-", stdin=out)
        await source.open({}, {})
        async with anyio.create_task_group() as group:
            group.start_soon(source.read)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        await source.aclose()
        os.close(into)

    async def test_a_reader_waits_for_bytes(self, pipe: tuple[int, int]) -> None:
        out, into = pipe
        source = source_of("-", stdin=out)
        await source.open({}, {})
        got: list[Item] = []

        async def read() -> None:
            got.extend(await source.read())

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            os.write(into, b'{"a":')
            await anyio.wait_all_tasks_blocked()
            assert got == []
            os.write(into, b"1}\n")
        assert [item.raw for item in got] == [b'{"a":1}']
        os.close(into)
        await source.aclose()

    async def test_the_same_input_again_goes_on_at_the_mark(self, pipe: tuple[int, int]) -> None:
        out, into = pipe
        os.write(into, b"1\n2\n3\n")
        os.close(into)
        items = await read_all(source_of("-", stdin=out), {"-": Mark(2, 1)})
        assert [item.key for item in items] == ["-:2", "-:3"]

    async def test_less_input_than_before_is_refused(self, pipe: tuple[int, int]) -> None:
        out, into = pipe
        os.write(into, b"1\n")
        os.close(into)
        with pytest.raises(StateError, match="standard input has 2 bytes of content, but 4"):
            await read_all(source_of("-", stdin=out), {"-": Mark(4, 2)})

    async def test_a_named_pipe_waits_for_its_writer(self) -> None:
        os.mkfifo("fifo")
        source = source_of("fifo")
        await source.open({}, {})
        got: list[Item] = []

        async def read() -> None:
            while batch := await source.read():
                got.extend(batch)

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            assert got == []
            into = await anyio.to_thread.run_sync(os.open, "fifo", os.O_WRONLY)
            os.write(into, b"1\n")
            os.close(into)
        assert [item.key for item in got] == ["fifo:1"]
        await source.aclose()

    async def test_standard_input_may_be_a_file(self) -> None:
        Path("a.jsonl").write_bytes(b"1\n2\n")
        file = os.open("a.jsonl", os.O_RDONLY)
        try:
            source = source_of("-", stdin=file)
            items = await read_all(source, {"-": Mark(2, 1)})
            assert [item.key for item in items] == ["-:2"]
            assert source.bytes_expected == 4
        finally:
            os.close(file)


async def read_in(
    marks: dict[str, Mark], heads: dict[str, str]
) -> tuple[list[Item], dict[str, str]]:
    source = source_of("a.jsonl")
    try:
        heads = await source.open(marks, heads)
        items = []
        while batch := await source.read():
            items += batch
        return items, heads
    finally:
        await source.aclose()


@pytest.mark.parametrize("last", [b"2", b"not json"])
async def test_a_last_line_without_break_may_get_one_and_others_after_it(last: bytes) -> None:
    path = Path("a.jsonl")
    path.write_bytes(b"1\n" + last)
    (_, second), heads = await read_in({}, {})
    path.write_bytes(b"1\n" + last + b"\n3\n")
    (_, same, third), _ = await read_in({}, heads)
    assert same == second
    mark = {"a.jsonl": Mark(second.position.end, second.position.line)}
    rest, _ = await read_in(mark, heads)
    assert rest == [third]
    assert third.position.line == 3


async def test_a_last_line_that_was_read_and_then_continued_is_refused() -> None:
    path = Path("a.jsonl")
    path.write_bytes(b"1\n2")
    (_, second), heads = await read_in({}, {})
    path.write_bytes(b"1\n23\n")
    with pytest.raises(StateError, match=r"a\.jsonl changed"):
        await read_in({"a.jsonl": Mark(second.position.end, 2)}, heads)


@pytest.mark.parametrize("mark", [Mark(0, 0), Mark(2, 1)])
async def test_a_file_that_was_replaced_is_refused(mark: Mark) -> None:
    path = Path("a.jsonl")
    path.write_bytes(b"1\n2\n")
    _, heads = await read_in({}, {})
    path.write_bytes(b"3\n4\n5\n")
    with pytest.raises(StateError, match=r"a\.jsonl changed"):
        await read_in({"a.jsonl": mark}, heads)


async def test_an_empty_file_may_get_its_first_line() -> None:
    path = Path("a.jsonl")
    path.touch()
    _, heads = await read_in({}, {})
    path.write_bytes(b"1\n")
    (item,), _ = await read_in({}, heads)
    assert isinstance(item, Record)
