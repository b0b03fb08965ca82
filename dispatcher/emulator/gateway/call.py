"""What a request asks for, in the words of the services."""

from dataclasses import dataclass
from typing import Final

import orjson

from dispatcher.emulator.http.blob import SPOOL_BYTES
from dispatcher.emulator.http.message import HttpRequest
from dispatcher.emulator.s3.service import resource
from dispatcher.emulator.sagemaker.invocation import HEADER, invoked_endpoint

INVOKE: Final = "InvokeEndpointAsync"

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


@dataclass(slots=True, frozen=True)
class Call:
    """One call of a service.

    Attributes:
        service: ``sagemaker``, ``s3``, ``sqs`` or ``sns``.
        operation: ``InvokeEndpointAsync``, ``PutObject``, ``ReceiveMessage``...; empty where it
            has no name.
        resource: The endpoint, ``bucket/key``, or the queue's name; empty where there is none.
        id: The InferenceId, or the Id of one entry of a batch; else empty.
    """

    service: str
    operation: str
    resource: str = ""
    id: str = ""


def read_call(service: str, request: HttpRequest) -> Call:
    """Return what is asked of a service; a request that makes no sense to it has empty names."""
    target = request.headers.get("x-amz-target", "").rpartition(".")[2]
    if service == "s3":
        return _s3_call(request)
    if service == "sqs":
        return Call("sqs", target, _queue(request))
    if service == "sagemaker" and not target:
        endpoint = invoked_endpoint(request)
        if endpoint is not None:
            return Call(service, INVOKE, endpoint, request.headers.get(HEADER + "inference-id", ""))
    return Call(service, target)


def _s3_call(request: HttpRequest) -> Call:
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


def _queue(request: HttpRequest) -> str:
    if request.body.size > SPOOL_BYTES:
        return ""
    try:
        asked = orjson.loads(request.body.read())
    except orjson.JSONDecodeError:
        return ""
    url = asked.get("QueueUrl") if isinstance(asked, dict) else None
    return url.rpartition("/")[2] if isinstance(url, str) else ""
