"""The contract of every source, however its bytes arrive and wherever its blocks are cut."""

import gzip
import os
import random
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from unittest import mock
from uuid import uuid4

import anyio
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.config.connectors import SourceSettings
from dispatcher.connectors.files import source as files
from dispatcher.connectors.files.source import FilesSource
from dispatcher.connectors.jsonl import line_splitter as lines_of
from dispatcher.connectors.jsonl import stream_reader as reader
from dispatcher.connectors.jsonl.source import JsonlSource
from dispatcher.connectors.sqs.source import SqsSource
from dispatcher.environment import Environment
from dispatcher.records import json_records
from dispatcher.records.record import Item, Record, Unreadable
from dispatcher.records.source import START, Mark, Source
from dispatcher.retry.outage_timer import OutageTimer
from tests.connectors.sqs.queue import Log
from tests.contracts.conftest import Place

LONGEST = 40
LARGE = 25
Opened = Callable[[bytes, Mark], AbstractAsyncContextManager[Source]]


def plain(content: bytes) -> bytes:
    return content


def gzipped(content: bytes) -> bytes:
    half = len(content) // 2
    return gzip.compress(content[:half]) + gzip.compress(content[half:])


def zstandardised(content: bytes) -> bytes:
    half = len(content) // 2
    compress = zstandard.ZstdCompressor().compress
    return compress(content[:half]) + compress(content[half:])


def make(path: str, *, stdin: int = -1) -> JsonlSource:
    return JsonlSource(SourceSettings(path=[path], key="id", max_record=LONGEST), stdin=stdin)


def from_file(encode: Callable[[bytes], bytes]) -> Opened:
    @asynccontextmanager
    async def opened(content: bytes, mark: Mark) -> AsyncIterator[Source]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "input"
            path.write_bytes(encode(content))
            source = make(str(path))
            await source.open(marks_of(str(path), mark), {})
            try:
                yield source
            finally:
                await source.aclose()

    return opened


def from_pipe(encode: Callable[[bytes], bytes]) -> Opened:
    @asynccontextmanager
    async def opened(content: bytes, mark: Mark) -> AsyncIterator[Source]:
        out, into = os.pipe()
        os.write(into, encode(content))
        os.close(into)
        source = make("-", stdin=out)
        try:
            await source.open(marks_of("-", mark), {})
            yield source
        finally:
            await source.aclose()
            os.close(out)

    return opened


def marks_of(stream: str, mark: Mark) -> Mapping[str, Mark]:
    return {} if mark == START else {stream: mark}


sources = pytest.mark.parametrize(
    "opened",
    [
        pytest.param(from_file(plain), id="plain"),
        pytest.param(from_file(gzipped), id="gzip"),
        pytest.param(from_file(zstandardised), id="zstd"),
        pytest.param(from_pipe(plain), id="stdin"),
        pytest.param(from_pipe(gzipped), id="stdin-gzip"),
    ],
)

lines = st.one_of(
    st.integers(0, 10**6).map(lambda n: b'{"id":%d}' % n),
    st.text("ab\u00e9\u4e2d", max_size=9).map(lambda s: f' {{"id": "{s}"}} '.encode()),
    st.sampled_from([b"", b"  ", b"\t", b"{}", b"[1]", b"nonsense", b'{"id":\r1}', b"\xff\xfe"]),
    st.integers(LONGEST - 2, 3 * LONGEST).map(lambda n: b'{"id":"%b"}' % (b"k" * n)),
    st.integers(LARGE - 12, LONGEST - 9).map(lambda n: b'{"id":\r"%b"}' % (b"k" * n)),
    st.sampled_from([b"x" * 30, b'"%b"' % (b"\xff" * 30), b'{"id":5, "id": 6, "x": [1, 2, 3]}']),
    st.binary(max_size=12).map(lambda b: b.replace(b"\n", b"")),
)
contents = st.builds(
    lambda parts, last: b"".join(line + end for line, end in parts) + last,
    st.lists(st.tuples(lines, st.sampled_from([b"\n", b"\r\n"])), max_size=20),
    st.one_of(st.just(b""), lines),
)
blocks = st.sampled_from([5, 16, 64, 1 << 18])


async def read_all(opened: Opened, content: bytes, mark: Mark, block: int) -> list[Item]:
    items: list[Item] = []
    with (
        mock.patch.object(reader, "BLOCK_BYTES", block),
        mock.patch.object(reader, "BATCH_RECORDS", 3),
        mock.patch.object(lines_of, "LARGE_BYTES", LARGE),
        mock.patch.object(json_records, "LARGE_BYTES", LARGE),
    ):
        async with opened(content, mark) as source:
            while batch := await source.read():
                assert len(batch) <= 3
                items += batch
            assert await source.read() == []
    return items


def nameless(item: Item) -> tuple[object, ...]:
    """Everything but the stream's name, which is another in every temporary folder.

    Whether a line is held in memory goes by where blocks are cut here, and so do a bad one's bytes.
    """
    at = item.position
    if isinstance(item, Unreadable):
        return at.start, at.end, at.line, item.reason
    return at.start, at.end, at.line, item.key, item.raw


@sources
@settings(max_examples=60, deadline=None)
@given(content=contents, block=blocks)
async def test_every_line_is_an_item_exactly_once_in_order(
    opened: Opened, content: bytes, block: int
) -> None:
    items = await read_all(opened, content, START, block)
    physical = content.split(b"\n")
    unmarked = [physical[0].removeprefix(b"\xef\xbb\xbf"), *physical[1:]]
    filled = [number for number, line in enumerate(unmarked, 1) if line.strip()]
    assert [item.position.line for item in items] == filled
    ends = [0, *(item.position.end for item in items)]
    assert [item.position.start for item in items] == ends[:-1]
    assert all(a < b for a, b in pairwise(ends))
    for item in items:
        line = unmarked[item.position.line - 1].strip()
        span = content[item.position.start : item.position.end]
        if item.position.start == 0:
            span = span.removeprefix(b"\xef\xbb\xbf")
        assert span.strip() == line
        if isinstance(item.raw, bytes) and item.raw:
            assert item.raw.replace(b"\r", b" ") == line.replace(b"\r", b" ")
    assert not content[ends[-1] :].strip() or not items
    kept = [item for item in items if not isinstance(item, Unreadable)]
    assert all(b"\n" not in record.raw and b"\r" not in record.raw for record in kept)


@sources
@settings(max_examples=60, deadline=None)
@given(content=contents, block=blocks, data=st.data())
async def test_reading_on_from_any_item_gives_the_items_after_it(
    opened: Opened, content: bytes, block: int, data: st.DataObject
) -> None:
    items = await read_all(opened, content, START, block)
    if not items:
        return
    done = data.draw(st.integers(1, len(items)))
    at = items[done - 1].position
    rest = await read_all(opened, content, Mark(at.end, at.line), block)
    assert [nameless(item) for item in rest] == [nameless(item) for item in items[done:]]


@settings(max_examples=60, deadline=None)
@given(contents=st.lists(st.binary(max_size=40), min_size=1, max_size=12), data=st.data())
async def test_files_are_read_on_from_any_of_them(
    contents: list[bytes], data: st.DataObject
) -> None:
    async def read_files(folder: str, mark: Mark) -> list[Item]:
        given_settings = SourceSettings(type="files", path=[f"{folder}/in/*"], max_record=30)
        source = FilesSource(given_settings, Path(folder) / "list", is_json=False)
        await source.open(marks_of(files.STREAM, mark), {})
        items: list[Item] = []
        while batch := await source.read():
            items += batch
        await source.aclose()
        return items

    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(files, "LARGE_BYTES", 15),
        mock.patch.object(files, "BLOCK_BYTES", 20),
        mock.patch.object(files, "BATCH_RECORDS", 3),
    ):
        (Path(folder) / "in").mkdir()
        for number, content in enumerate(contents):
            (Path(folder) / f"in/{number:03d}").write_bytes(content)
        items = await read_files(folder, START)
        assert [i.raw for i in items] == [c if len(c) <= 30 else b"" for c in contents]
        assert [i.position.line for i in items] == list(range(1, len(contents) + 1))
        assert [i.position.start for i in items] == [0, *(i.position.end for i in items[:-1])]
        at = items[data.draw(st.integers(0, len(items) - 1))].position
        rest = await read_files(folder, Mark(at.end, at.line))
        assert [nameless(item) for item in rest] == [nameless(item) for item in items[at.line :]]


@sources
async def test_a_source_may_be_closed_before_its_end(opened: Opened) -> None:
    async with opened(b'{"id":1}\n' * 5000, START) as source:
        assert await source.read()
        await source.aclose()
        assert await source.read() == []


@dataclass
class Delivering:
    """A source whose records are all there, and what its origin has forgotten of them."""

    source: Source
    forgotten: Callable[[], Awaitable[int]]


@pytest.fixture(params=["lines", "files", "queue"])
async def delivering(
    request: pytest.FixtureRequest, tmp_path: Path, boxed: Place
) -> AsyncIterator[Callable[[int], Awaitable[Delivering]]]:
    """Make sources of so many records, by either kind."""
    async with AsyncExitStack() as stack:

        async def lines(count: int) -> Delivering:
            path = tmp_path / "in.jsonl"
            path.write_text("".join(f'{{"id":{n}}}\n' for n in range(count)))

            async def forgotten() -> int:
                return 0

            return Delivering(make(str(path)), forgotten)

        async def files(count: int) -> Delivering:
            (tmp_path / "in").mkdir()
            for n in range(count):
                (tmp_path / f"in/{n:03d}").write_bytes(b"%d" % n)

            async def forgotten() -> int:
                return 0

            path = str(tmp_path / "in" / "*")
            settings = SourceSettings(type="files", path=[path])
            return Delivering(FilesSource(settings, tmp_path / "list", is_json=True), forgotten)

        async def queue(count: int) -> Delivering:
            transport = await stack.enter_async_context(boxed.connect("direct"))
            made = await transport.clients.sqs.create_queue(QueueName=f"q-{uuid4().hex}")
            calls = transport.queue(made["QueueUrl"])
            for n in range(count):
                await calls.send([f'{{"id":{n}}}'])

            async def forgotten() -> int:
                counts = await calls.attributes()
                assert counts is not None
                left = (
                    counts[f"ApproximateNumberOfMessages{which}"] for which in ("", "NotVisible")
                )
                return count - sum(map(int, left))

            settings = SourceSettings.model_validate(
                {"type": "sqs", "queue_url": made["QueueUrl"], "key": "id", "until_empty": 1}
            )
            source = SqsSource(
                settings=settings,
                queue=calls,
                message_log=Log(),
                outage_timer=OutageTimer(
                    give_up_after=300.0, monotonic=time.monotonic, symptom="nothing was received"
                ),
                environment=Environment(now=time.monotonic, rng=random.Random(1)),
            )
            return Delivering(source, forgotten)

        yield {"lines": lines, "files": files, "queue": queue}[request.param]


async def test_read_to_the_end_and_settled_it_is_finished(
    delivering: Callable[[int], Awaitable[Delivering]],
) -> None:
    made = await delivering(25)
    source, items = made.source, list[Item]()
    await source.open({}, {})
    async with anyio.create_task_group() as group:
        group.start_soon(source.run)
        while batch := await source.read():
            items += batch
            source.acknowledge(item.position for item in batch)
        assert await source.read() == []
        await source.finish()
    await source.aclose()
    records = [item for item in items if isinstance(item, Record)]
    if isinstance(source, FilesSource):
        assert sorted(int(item.raw) for item in records) == list(range(25))
    else:
        assert sorted(item.key for item in records) == list(range(25))
    ends = [0, *(item.position.end for item in items)]
    assert [item.position.start for item in items] == ends[:-1]
    assert source.bytes_read > 0
    if isinstance(source, SqsSource):
        assert await made.forgotten() == 25


async def test_what_is_not_settled_is_not_forgotten(
    delivering: Callable[[int], Awaitable[Delivering]],
) -> None:
    made = await delivering(12)
    source = made.source
    await source.open({}, {})
    async with anyio.create_task_group() as group:
        group.start_soon(source.run)
        items = await source.read()
        while len(items) < 2:
            items += await source.read()
        source.acknowledge([items[0].position])
        source.stop()
        await source.finish()
    await source.aclose()
    assert await made.forgotten() == (1 if isinstance(source, SqsSource) else 0)
