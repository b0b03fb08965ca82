"""Names of S3 calls."""

import pytest

from dispatcher.emulator.gateway.call import Call
from dispatcher.emulator.http.blob import Blob
from dispatcher.emulator.http.message import HttpRequest
from dispatcher.emulator.s3.call import read_call


@pytest.mark.parametrize(
    ("method", "target", "headers", "call"),
    [
        ("GET", "/b/a/k", {}, Call("s3", "GetObject", "b/a/k")),
        ("HEAD", "/b/k", {}, Call("s3", "HeadObject", "b/k")),
        ("PUT", "/b/k%20k", {}, Call("s3", "PutObject", "b/k k")),
        ("PUT", "/k", {"host": "b.localhost:1"}, Call("s3", "PutObject", "b/k")),
        ("DELETE", "/b/k", {}, Call("s3", "DeleteObject", "b/k")),
        ("PATCH", "/b/k", {}, Call("s3", "", "b/k")),
        ("POST", "/b/k?uploads", {}, Call("s3", "CreateMultipartUpload", "b/k")),
        ("PUT", "/b/k?partNumber=1&uploadId=u", {}, Call("s3", "UploadPart", "b/k")),
        ("POST", "/b/k?uploadId=u", {}, Call("s3", "CompleteMultipartUpload", "b/k")),
        ("DELETE", "/b/k?uploadId=u", {}, Call("s3", "AbortMultipartUpload", "b/k")),
        ("GET", "/b?list-type=2", {}, Call("s3", "ListObjectsV2", "b")),
        ("HEAD", "/b", {}, Call("s3", "HeadBucket", "b")),
        ("PUT", "/b", {}, Call("s3", "CreateBucket", "b")),
        ("POST", "/b?delete", {}, Call("s3", "DeleteObjects", "b")),
    ],
)
def test_a_call_has_its_operation_and_resource(
    method: str, target: str, headers: dict[str, str], call: Call
) -> None:
    assert read_call(HttpRequest(method, target, headers, Blob(0))) == call
