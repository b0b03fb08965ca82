"""Multipart uploads, over HTTP."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from dispatcher.emulator.server import Emulator
from tests.emulator.s3.examples import error_code


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
    assert error_code((await complete(two, one)).body) == "InvalidPartOrder"
    assert error_code((await complete(one, (2, etags[0]))).body) == "InvalidPart"
    assert error_code((await complete()).body) == "MalformedXML"
    assert (await complete(one, two)).status == 200
    assert stored.objects("mine")["k"] == bytes(sum(sizes))
    assert error_code((await complete(one, two)).body) == "NoSuchUpload"


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


async def test_odd_numbers_of_parts_are_refused(wire: Any) -> None:
    begun = await wire.ask("POST", "/emulator-input/k?uploads")
    upload = ET.fromstring(begun.body).findtext("{*}UploadId")
    for number in ("9" * 5000, "-1", "0", "10001", "x", ""):
        target = f"/emulator-input/k?partNumber={number}&uploadId={upload}"
        reply = await wire.ask("PUT", target, body=b"x")
        assert (reply.status, error_code(reply.body)) == (400, "InvalidArgument")
    for body in (
        b"<C><Part><PartNumber>%s</PartNumber><ETag>e</ETag></Part></C>" % (b"9" * 5000),
        b"<C>\0</C>",
        b'<?xml version="1.0" encoding="nonsense"?><C/>',
    ):
        reply = await wire.ask("POST", f"/emulator-input/k?uploadId={upload}", body=body)
        assert (reply.status, error_code(reply.body)) == (400, "MalformedXML")
