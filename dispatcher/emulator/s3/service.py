"""S3 over its REST protocol: buckets, listings, and the way to the calls on objects."""

import base64
import binascii
import re
from typing import Final

from dispatcher import limits
from dispatcher.emulator.auth.refusals import S3SignatureRefusals
from dispatcher.emulator.clock import Clock
from dispatcher.emulator.gateway.call import Call
from dispatcher.emulator.http.message import (
    HttpRequest,
    HttpResponse,
    Refusal,
    ServiceResponse,
    whole_number,
)
from dispatcher.emulator.s3 import xml as s3_xml
from dispatcher.emulator.s3.call import read_call, resource
from dispatcher.emulator.s3.listing import list_page
from dispatcher.emulator.s3.object_calls import S3Objects
from dispatcher.emulator.s3.store import ObjectStore, StoredBucket

_XML: Final = {"Content-Type": "application/xml"}
_BUCKET_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
# Parameters that ask for another operation than the plain one.
_SUBRESOURCES: Final = {
    "accelerate", "acl", "analytics", "attributes", "cors", "encryption", "intelligent-tiering",
    "inventory", "legal-hold", "lifecycle", "location", "logging", "metrics", "notification",
    "object-lock", "ownershipControls", "policy", "policyStatus", "publicAccessBlock",
    "replication", "requestPayment", "restore", "retention", "select", "tagging", "torrent",
    "versioning", "versions", "versionId", "website",
}  # fmt: skip


class S3:
    """Answers S3 calls.

    Args:
        objects: Buckets and objects.
        clock: Time.
    """

    request_id_header = "x-amz-request-id"
    missing_signature = Refusal(403, "AccessDenied", "Access Denied")
    access_denied = Refusal(403, "AccessDenied", "Access Denied")
    malformed_body = "IncompleteBody"
    signature_refusals = S3SignatureRefusals()

    def __init__(self, objects: ObjectStore, clock: Clock) -> None:
        self._store = objects
        self._objects = S3Objects(objects, clock)

    def read_call(self, request: HttpRequest) -> Call:
        """Return the call that a request makes."""
        return read_call(request)

    def answer(self, request: HttpRequest) -> ServiceResponse:
        """Answer a signed request."""
        name, key = resource(request)
        query = request.query
        unknown = _SUBRESOURCES.intersection(query)
        if unknown and not _is_played(request.method, name, key, unknown):
            raise _not_played(f"?{min(unknown)}")
        if not name:
            return self._list_buckets(request)
        if not key:
            return self._bucket(request, name, query)
        self._existing(name)
        return self._objects.answer(request, name, key, query)

    def refuse(self, request: HttpRequest, refusal: Refusal) -> HttpResponse:
        """Answer with an error in S3's shape; a HEAD has no body to put it into."""
        if request.method == "HEAD":
            return HttpResponse(refusal.status, dict(_XML))
        return HttpResponse(refusal.status, dict(_XML), s3_xml.error(refusal, request.path))

    def _existing(self, name: str) -> StoredBucket:
        bucket = self._store.buckets.get(name)
        if bucket is None:
            raise Refusal(404, "NoSuchBucket", "The specified bucket does not exist")
        return bucket

    def _list_buckets(self, request: HttpRequest) -> HttpResponse:
        if request.method != "GET":
            raise _not_played(f"{request.method} /")
        names = "".join(
            f"<Bucket>{s3_xml.element('Name', name)}</Bucket>"
            for name in sorted(self._store.buckets)
        )
        body = s3_xml.document("ListAllMyBucketsResult", f"<Buckets>{names}</Buckets>")
        return HttpResponse(200, dict(_XML), body)

    def _bucket(self, request: HttpRequest, name: str, query: dict[str, str]) -> ServiceResponse:
        if "lifecycle" in query:
            return self._lifecycle(request, name)
        if request.method == "PUT":
            if not _BUCKET_NAME.fullmatch(name):
                raise Refusal(400, "InvalidBucketName", "The specified bucket is not valid.")
            self._store.create_bucket(name)
            return HttpResponse(200, {"Location": f"/{name}"})
        bucket = self._existing(name)
        if request.method == "HEAD":
            return HttpResponse(200, {"x-amz-bucket-region": "us-east-1"})
        if request.method == "GET" and "uploads" in query:
            return self._objects.uploads(name, query)
        if request.method == "GET" and query.get("list-type") == "2":
            return self._list(name, bucket, query)
        if request.method == "POST" and "delete" in query:
            return self._delete_many(request, name)
        raise _not_played(f"{request.method} of a bucket")

    def _list(self, name: str, bucket: StoredBucket, query: dict[str, str]) -> HttpResponse:
        given = query.get("max-keys") or str(limits.S3_LIST_PAGE_KEYS)
        max_keys = whole_number(given)
        if max_keys is None:
            raise Refusal(400, "InvalidArgument", "Provided max-keys not an integer")
        limit = min(max_keys, limits.S3_LIST_PAGE_KEYS)
        after = query.get("start-after", "")
        if "continuation-token" in query:
            after = _read_token(query["continuation-token"])
        page = list_page(
            bucket.keys,
            prefix=query.get("prefix", ""),
            delimiter=query.get("delimiter", ""),
            after=after,
            limit=limit,
        )
        token = None
        if page.resume is not None:
            token = base64.urlsafe_b64encode(page.resume.encode()).decode()
        body = s3_xml.listing(name, bucket, page, query=query, limit=limit, next_token=token)
        return HttpResponse(200, dict(_XML), body)

    def _lifecycle(self, request: HttpRequest, name: str) -> HttpResponse:
        """Store the rules of a bucket and return them; the emulator does not apply them."""
        bucket = self._existing(name)
        if request.method == "PUT":
            s3_xml.read(request.body.read())
            self._store.set_lifecycle(name, request.body.read().decode())
            return HttpResponse(200)
        if request.method == "DELETE":
            self._store.set_lifecycle(name, "")
            return HttpResponse(204)
        if not bucket.lifecycle:
            raise Refusal(
                404,
                "NoSuchLifecycleConfiguration",
                "The lifecycle configuration does not exist",
            )
        return HttpResponse(200, dict(_XML), bucket.lifecycle.encode())

    def _delete_many(self, request: HttpRequest, name: str) -> HttpResponse:
        root = s3_xml.read(request.body.read())
        keys = [node.findtext("Key", "") for node in root.iter("Object")]
        if not 1 <= len(keys) <= limits.S3_LIST_PAGE_KEYS or "" in keys:
            raise Refusal(400, "MalformedXML", "The XML you provided was not well-formed.")
        for key in keys:
            self._store.delete(name, key)
        quiet = root.findtext("Quiet", "").lower() == "true"
        done = (
            ""
            if quiet
            else "".join(f"<Deleted>{s3_xml.element('Key', key)}</Deleted>" for key in keys)
        )
        return HttpResponse(200, dict(_XML), s3_xml.document("DeleteResult", done))


def _is_played(method: str, bucket: str, key: str, subresources: set[str]) -> bool:
    """Return whether another operation than the plain one is played all the same."""
    if subresources == {"lifecycle"}:
        return bool(bucket) and not key and method in {"GET", "PUT", "DELETE"}
    return subresources == {"tagging"} and method == "GET" and bool(bucket and key)


def _read_token(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token).decode()
    except (binascii.Error, ValueError):
        raise Refusal(
            400, "InvalidArgument", "The continuation token provided is incorrect"
        ) from None


def _not_played(what: str) -> Refusal:
    return Refusal(501, "NotImplemented", f"The emulator does not play {what}.")
