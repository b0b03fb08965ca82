"""S3 over HTTP: what SDKs do not show."""

import base64
import hashlib
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from dispatcher.emulator.server import Emulator


def code_of(body: bytes) -> str | None:
    return ET.fromstring(body).findtext("Code")


@pytest.fixture(params=["memory", "folder"])
async def stored(
    request: pytest.FixtureRequest, quick: Any, tmp_path: Path
) -> AsyncIterator[Emulator]:
    state = str(tmp_path) if request.param == "folder" else None
    async with Emulator(quick.model_copy(update={"state": state}), buckets=["mine"]) as emulator:
        yield emulator


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
    assert code_of(reply.body) == "InvalidRange"


@pytest.mark.parametrize(
    ("header", "right"),
    [
        ("x-amz-checksum-crc32", base64.b64encode(zlib.crc32(b"abc").to_bytes(4, "big"))),
        ("x-amz-checksum-sha1", base64.b64encode(hashlib.sha1(b"abc").digest())),
        ("x-amz-checksum-sha256", base64.b64encode(hashlib.sha256(b"abc").digest())),
        ("content-md5", base64.b64encode(hashlib.md5(b"abc").digest())),
    ],
)
async def test_checksum_is_verified(wire: Any, header: str, right: bytes) -> None:
    wrong = await wire.ask("PUT", "/emulator-input/k", {header: right.decode()}, b"abd")
    assert (wrong.status, code_of(wrong.body)) == (400, "BadDigest")
    assert (await wire.ask("HEAD", "/emulator-input/k")).status == 404
    good = await wire.ask("PUT", "/emulator-input/k", {header: right.decode()}, b"abc")
    assert good.status == 200
    asked = {"x-amz-checksum-mode": "ENABLED"}
    again = await wire.ask("GET", "/emulator-input/k", asked)
    if header.startswith("x-amz-checksum-"):
        assert again.headers[header] == right.decode().lower()


async def test_checksum_in_a_trailer_is_verified(wire: Any) -> None:
    def framed(crc: bytes) -> bytes:
        value = base64.b64encode(crc)
        return b"3\r\nabc\r\n0\r\nx-amz-checksum-crc32:" + value + b"\r\n\r\n"

    headers = {
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "x-amz-trailer": "x-amz-checksum-crc32",
    }
    wrong = await wire.ask("PUT", "/emulator-input/k", headers, framed(b"\0\0\0\0"))
    assert code_of(wrong.body) == "BadDigest"
    crc = zlib.crc32(b"abc").to_bytes(4, "big")
    assert (await wire.ask("PUT", "/emulator-input/k", headers, framed(crc))).status == 200
    assert (await wire.ask("GET", "/emulator-input/k")).body == b"abc"


async def test_broken_aws_chunked_body_is_refused(wire: Any) -> None:
    headers = {"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}
    reply = await wire.ask("PUT", "/emulator-input/k", headers, b"zz\r\nabc")
    assert code_of(reply.body) == "IncompleteBody"
    assert (await wire.ask("HEAD", "/emulator-input/k")).status == 404


async def test_bucket_may_be_in_the_host_name(wire: Any) -> None:
    host = {"Host": "emulator-input.localhost:1234"}
    assert (await wire.ask("PUT", "/dir//k", host, b"x")).status == 200
    assert (await wire.ask("GET", "/emulator-input/dir//k")).body == b"x"


@pytest.mark.parametrize(
    ("method", "target", "status", "code"),
    [
        ("GET", "/no-bucket/k", 404, "NoSuchBucket"),
        ("PUT", "/no-bucket/k", 404, "NoSuchBucket"),
        ("GET", "/emulator-input/none", 404, "NoSuchKey"),
        ("PUT", "/NOT_A_BUCKET", 400, "InvalidBucketName"),
        ("GET", "/emulator-input?acl", 501, "NotImplemented"),
        ("GET", "/emulator-input", 501, "NotImplemented"),
        ("GET", "/emulator-input?list-type=2&max-keys=x", 400, "InvalidArgument"),
        ("GET", f"/emulator-input?list-type=2&max-keys={'9' * 5000}", 400, "InvalidArgument"),
        ("GET", "/emulator-input?list-type=2&continuation-token=%FF", 400, "InvalidArgument"),
        ("POST", "/emulator-input?delete", 400, "MalformedXML"),
        ("PUT", "/emulator-input/k?uploadId=none&partNumber=1", 404, "NoSuchUpload"),
        ("PUT", "/emulator-input/" + "k" * 1025, 400, "KeyTooLongError"),
    ],
)
async def test_refusals(wire: Any, method: str, target: str, status: int, code: str) -> None:
    reply = await wire.ask(method, target)
    assert (reply.status, code_of(reply.body)) == (status, code)


async def test_deleting_what_is_not_there_is_no_error(wire: Any) -> None:
    reply = await wire.ask("DELETE", "/emulator-input/none")
    assert (reply.status, reply.body) == (204, b"")


async def test_parts_must_be_those_that_were_uploaded(stored: Emulator, connect: Any) -> None:
    wire = await connect(stored.url)
    begun = await wire.ask("POST", "/mine/k?uploads")
    upload = ET.fromstring(begun.body).findtext("{*}UploadId")
    sizes = [5 * 1024 * 1024, 10]
    etags = []
    for number, size in enumerate(sizes, 1):
        target = f"/mine/k?partNumber={number}&uploadId={upload}"
        etags.append((await wire.ask("PUT", target, body=bytes(size))).headers["etag"])

    async def complete(*parts: tuple[int, str]) -> Any:
        items = "".join(
            f"<Part><PartNumber>{n}</PartNumber><ETag>{e}</ETag></Part>" for n, e in parts
        )
        body = f"<CompleteMultipartUpload>{items}</CompleteMultipartUpload>".encode()
        return await wire.ask("POST", f"/mine/k?uploadId={upload}", body=body)

    one, two = (1, etags[0]), (2, etags[1])
    assert code_of((await complete(two, one)).body) == "InvalidPartOrder"
    assert code_of((await complete(one, (2, etags[0]))).body) == "InvalidPart"
    assert code_of((await complete()).body) == "MalformedXML"
    assert (await complete(one, two)).status == 200
    assert stored.objects("mine")["k"] == bytes(sum(sizes))
    assert code_of((await complete(one, two)).body) == "NoSuchUpload"


async def test_aborted_upload_leaves_nothing(
    stored: Emulator, connect: Any, tmp_path: Path
) -> None:
    wire = await connect(stored.url)
    begun = await wire.ask("POST", "/mine/k?uploads")
    upload = ET.fromstring(begun.body).findtext("{*}UploadId")
    part = f"/mine/k?partNumber=1&uploadId={upload}"
    assert (await wire.ask("PUT", part, body=bytes(2_000_000))).status == 200
    assert (await wire.ask("DELETE", f"/mine/k?uploadId={upload}")).status == 204
    assert (await wire.ask("HEAD", "/mine/k")).status == 404
    assert not list(tmp_path.glob("incoming/*"))


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


async def test_odd_numbers_of_parts_are_refused(wire: Any) -> None:
    begun = await wire.ask("POST", "/emulator-input/k?uploads")
    upload = ET.fromstring(begun.body).findtext("{*}UploadId")
    for number in ("9" * 5000, "-1", "0", "10001", "x", ""):
        target = f"/emulator-input/k?partNumber={number}&uploadId={upload}"
        reply = await wire.ask("PUT", target, body=b"x")
        assert (reply.status, code_of(reply.body)) == (400, "InvalidArgument")
    for body in (
        b"<C><Part><PartNumber>%s</PartNumber><ETag>e</ETag></Part></C>" % (b"9" * 5000),
        b"<C>\0</C>",
        b'<?xml version="1.0" encoding="nonsense"?><C/>',
    ):
        reply = await wire.ask("POST", f"/emulator-input/k?uploadId={upload}", body=body)
        assert (reply.status, code_of(reply.body)) == (400, "MalformedXML")


async def test_write_of_what_must_not_exist_is_refused_where_it_does(wire: Any) -> None:
    only_new = {"If-None-Match": "*"}
    assert (await wire.ask("PUT", "/emulator-input/k", only_new, b"one")).status == 200
    again = await wire.ask("PUT", "/emulator-input/k", only_new, b"two")
    assert (again.status, code_of(again.body)) == (412, "PreconditionFailed")
    assert (await wire.ask("GET", "/emulator-input/k")).body == b"one"
    begun = await wire.ask("POST", "/emulator-input/k?uploads")
    upload = ET.fromstring(begun.body).findtext("{*}UploadId")
    target = f"/emulator-input/k?uploadId={upload}"
    assert (await wire.ask("POST", target, only_new, b"<C/>")).status == 412
