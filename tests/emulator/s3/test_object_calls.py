"""Calls on objects, over HTTP where SDKs would hide something."""

import hashlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from dispatcher.emulator.s3.object_calls import parse_range
from dispatcher.emulator.server import Emulator
from tests.emulator.s3.examples import error_code


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=2-", (2, 10)),
        ("bytes=5-100", (5, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-100", (0, 10)),
        ("bytes=5-2", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("bytes=-", None),
    ],
)
def test_range_is_read(header: str, span: tuple[int, int] | None) -> None:
    assert parse_range(header, 10) == span


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0)])
def test_range_outside_is_refused(header: str, size: int) -> None:
    with pytest.raises(ValueError, match="bytes"):
        parse_range(header, size)


async def test_object_keeps_type_metadata_and_etag(stored: Emulator, connect: Any) -> None:
    wire = await connect(stored.url)
    headers = {"Content-Type": "text/csv", "x-amz-meta-who": "me"}
    put = await wire.ask("PUT", "/mine/a/b.csv", headers, b"1,2")
    md5 = hashlib.md5(b"1,2").hexdigest()
    assert put.headers["etag"] == f'"{md5}"'
    got = await wire.ask("GET", "/mine/a/b.csv")
    assert (got.status, got.body) == (200, b"1,2")
    assert got.headers["content-type"] == "text/csv"
    assert got.headers["x-amz-meta-who"] == "me"
    assert got.headers["etag"] == f'"{md5}"'


async def test_large_object_comes_back_whole_and_in_ranges(stored: Emulator, connect: Any) -> None:
    wire = await connect(stored.url)
    content = bytes(range(251)) * 20_000
    assert (await wire.ask("PUT", "/mine/k", body=content)).status == 200
    assert (await wire.ask("GET", "/mine/k")).body == content
    part = await wire.ask("GET", "/mine/k", {"Range": "bytes=1000000-3000000"})
    assert part.status == 206
    assert part.body == content[1_000_000:3_000_001]
    assert part.headers["content-range"] == f"bytes 1000000-3000000/{len(content)}"


async def test_range_outside_is_416(wire: Any) -> None:
    await wire.ask("PUT", "/emulator-input/k", body=b"abc")
    reply = await wire.ask("GET", "/emulator-input/k", {"Range": "bytes=3-"})
    assert reply.status == 416
    assert error_code(reply.body) == "InvalidRange"


async def test_object_that_is_being_sent_may_be_deleted(stored: Emulator, connect: Any) -> None:
    wire, other = await connect(stored.url), await connect(stored.url)
    content = bytes(range(251)) * 40_000
    await wire.ask("PUT", "/mine/k", body=content)
    wire.send("GET", "/mine/k")
    wire.send("GET", "/mine/k")
    assert (await other.ask("DELETE", "/mine/k")).status == 204
    replies = [await wire.reply(), await wire.reply()]
    assert replies[0].body == content
    assert replies[1].status in {200, 404}


async def test_head_of_a_large_object_reads_none_of_it(stored: Emulator, connect: Any) -> None:
    wire = await connect(stored.url)
    await wire.ask("PUT", "/mine/k", body=bytes(1_000_000))
    # Any reading would now fail.
    blob = stored._objects.buckets["mine"].objects["k"].blob
    blob.path = Path("/not/there")
    reply = await wire.ask("HEAD", "/mine/k")
    assert reply.headers["content-length"] == "1000000"


async def test_write_of_what_must_not_exist_is_refused_where_it_does(wire: Any) -> None:
    only_new = {"If-None-Match": "*"}
    assert (await wire.ask("PUT", "/emulator-input/k", only_new, b"one")).status == 200
    again = await wire.ask("PUT", "/emulator-input/k", only_new, b"two")
    assert (again.status, error_code(again.body)) == (412, "PreconditionFailed")
    assert (await wire.ask("GET", "/emulator-input/k")).body == b"one"
    begun = await wire.ask("POST", "/emulator-input/k?uploads")
    upload = ET.fromstring(begun.body).findtext("{*}UploadId")
    target = f"/emulator-input/k?uploadId={upload}"
    assert (await wire.ask("POST", target, only_new, b"<C/>")).status == 412
