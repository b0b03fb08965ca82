"""Names of an S3 call: its operation, bucket and key, read from a request."""

import re
from typing import Final

from dispatcher.emulator.gateway.call import Call
from dispatcher.emulator.http.message import HttpRequest

_VIRTUAL_HOST: Final = re.compile(r"([a-z0-9][a-z0-9.-]*)\.localhost(?::\d+)?")

_OF_BUCKETS: Final = {
    "GET": "ListObjectsV2",
    "HEAD": "HeadBucket",
    "POST": "DeleteObjects",
    "PUT": "CreateBucket",
}
_OF_RULES: Final = {
    "DELETE": "DeleteBucketLifecycle",
    "GET": "GetBucketLifecycleConfiguration",
    "PUT": "PutBucketLifecycleConfiguration",
}
_OF_OBJECTS: Final = {
    "DELETE": "DeleteObject",
    "GET": "GetObject",
    "HEAD": "HeadObject",
    "PUT": "PutObject",
}
_OF_UPLOADS: Final = {
    "DELETE": "AbortMultipartUpload",
    "POST": "CompleteMultipartUpload",
    "PUT": "UploadPart",
}


def resource(request: HttpRequest) -> tuple[str, str]:
    """Return the bucket and the key that a request names; empty where it names none."""
    path = request.path[1:]
    host = _VIRTUAL_HOST.fullmatch(request.headers.get("host", ""))
    if host is not None:
        return host[1], path
    bucket, _, key = path.partition("/")
    return bucket, key


def read_call(request: HttpRequest) -> Call:
    """Return the call that a request makes."""
    bucket, key = resource(request)
    query = request.query
    if not key:
        if "lifecycle" in query:
            return Call("s3", _OF_RULES.get(request.method, ""), bucket)
        if "uploads" in query and request.method == "GET":
            return Call("s3", "ListMultipartUploads", bucket)
        return Call("s3", _OF_BUCKETS.get(request.method, ""), bucket)
    if "tagging" in query:
        return Call("s3", "GetObjectTagging", f"{bucket}/{key}")
    if "uploadId" in query:
        operation = _OF_UPLOADS.get(request.method, "")
    elif request.method == "POST":
        operation = "CreateMultipartUpload"
    else:
        operation = _OF_OBJECTS.get(request.method, "")
    return Call("s3", operation, f"{bucket}/{key}")
