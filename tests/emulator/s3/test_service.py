"""S3 as a service, over HTTP and through aioboto3."""

from typing import Any

import pytest

from tests.emulator.s3.examples import error_code


async def test_broken_aws_chunked_body_is_refused(wire: Any) -> None:
    headers = {"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}
    reply = await wire.ask("PUT", "/emulator-input/k", headers, b"zz\r\nabc")
    assert error_code(reply.body) == "IncompleteBody"
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
    assert (reply.status, error_code(reply.body)) == (status, code)


async def test_deleting_what_is_not_there_is_no_error(wire: Any) -> None:
    reply = await wire.ask("DELETE", "/emulator-input/none")
    assert (reply.status, reply.body) == (204, b"")


async def test_aioboto3_puts_and_lists_objects(clients: dict[str, Any]) -> None:
    s3 = clients["s3"]
    for n in range(5):
        await s3.put_object(Bucket="emulator-input", Key=f"d{n % 2}/k{n}", Body=b"x" * n)
    listed = await s3.list_objects_v2(Bucket="emulator-input", Delimiter="/", MaxKeys=1)
    assert [p["Prefix"] for p in listed["CommonPrefixes"]] == ["d0/"]
    rest = await s3.list_objects_v2(
        Bucket="emulator-input",
        Delimiter="/",
        ContinuationToken=listed["NextContinuationToken"],
    )
    assert [p["Prefix"] for p in rest["CommonPrefixes"]] == ["d1/"]
    got = await s3.get_object(Bucket="emulator-input", Key="d1/k3")
    assert await got["Body"].read() == b"xxx"
