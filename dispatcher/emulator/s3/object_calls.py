"""S3's calls on objects: put, get, head, delete, and multipart uploads."""

import re
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final
from xml.etree.ElementTree import Element

from dispatcher.emulator.clock import Clock
from dispatcher.emulator.http.blob import Blob
from dispatcher.emulator.http.message import (
    HttpRequest,
    HttpResponse,
    Refusal,
    ServiceResponse,
    Slice,
    whole_number,
)
from dispatcher.emulator.s3 import xml as s3_xml
from dispatcher.emulator.s3.checksums import PREFIX, check_body, given_checksum
from dispatcher.emulator.s3.multipart import NamedPart, Part, Upload, Uploads
from dispatcher.emulator.s3.object_options import read_options
from dispatcher.emulator.s3.store import ObjectStore, StoredObject

MAX_KEY_BYTES = 1024
"""Maximum length of a key in bytes of UTF-8 (D)."""

_XML: Final = {"Content-Type": "application/xml"}
_META: Final = "x-amz-meta-"
_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")


class S3Objects:
    """Answers calls on objects of existing buckets.

    Args:
        objects: Buckets and objects.
        clock: Time.
    """

    def __init__(self, objects: ObjectStore, clock: Clock) -> None:
        self._store = objects
        self._clock = clock
        self._uploads = Uploads(objects.spool_folder)

    def answer(
        self, request: HttpRequest, bucket: str, key: str, query: dict[str, str]
    ) -> ServiceResponse:
        """Answer one call; ``bucket`` exists and ``key`` is not empty."""
        upload_id = query.get("uploadId")
        match request.method:
            case "GET" if "tagging" in query:
                tags = self._existing(bucket, key).options.tags
                return HttpResponse(200, dict(_XML), s3_xml.tagging(tags))
            case "GET" | "HEAD" if upload_id is None:
                return self._get(request, bucket, key)
            case "PUT" if upload_id is not None:
                return self._put_part(request, bucket, key, upload_id, query)
            case "PUT" if "x-amz-copy-source" not in request.headers:
                if len(key.encode()) > MAX_KEY_BYTES:
                    raise Refusal(400, "KeyTooLongError", "Your key is too long")
                return self._put(request, bucket, key)
            case "DELETE" if upload_id is not None:
                self._uploads.abort(upload_id, self._uploads.get(upload_id, bucket, key))
                return HttpResponse(204)
            case "DELETE":
                self._store.delete(bucket, key)
                return HttpResponse(204)
            case "POST" if "uploads" in query:
                return self._create_upload(request, bucket, key)
            case "POST" if upload_id is not None:
                return self._complete(request, bucket, key, upload_id)
        raise Refusal(
            501, "NotImplemented", f"The emulator does not play this {request.method} of an object."
        )

    def uploads(self, bucket: str, query: dict[str, str]) -> HttpResponse:
        """Answer ListMultipartUploads; all of them are on one page."""
        prefix = query.get("prefix", "")
        uploads = "".join(
            f"<Upload>{s3_xml.element('Key', key)}{s3_xml.element('UploadId', upload_id)}</Upload>"
            for key, upload_id in self._uploads.of(bucket, prefix)
        )
        content = s3_xml.element("Bucket", bucket) + s3_xml.element("Prefix", prefix)
        content += s3_xml.element("IsTruncated", "false") + uploads
        return HttpResponse(200, dict(_XML), s3_xml.document("ListMultipartUploadsResult", content))

    async def _put(self, request: HttpRequest, bucket: str, key: str) -> HttpResponse:
        options = read_options(request.headers)
        md5 = await check_body(request.body, _digests(request))
        self._check_absent(request, bucket, key)
        checksum = given_checksum(_digests(request))
        stored = StoredObject(
            blob=request.body,
            etag=md5,
            content_type=_content_type(request),
            modified=self._clock.now(),
            metadata=_metadata(request),
            checksum=checksum,
            options=options,
        )
        self._store.put(bucket, key, stored)
        request.body = Blob(0)  # it belongs to the store now
        headers = {"ETag": s3_xml.quoted(md5), **options.encryption}
        if checksum is not None:
            headers[checksum[0]] = checksum[1]
        return HttpResponse(200, headers)

    def _existing(self, bucket: str, key: str) -> StoredObject:
        stored = self._store.get(bucket, key)
        if stored is None:
            raise Refusal(404, "NoSuchKey", "The specified key does not exist.")
        return stored

    def _check_absent(self, request: HttpRequest, bucket: str, key: str) -> None:
        condition = request.headers.get("if-none-match")
        if condition is None:
            return
        if condition != "*":
            raise Refusal(501, "NotImplemented", "If-None-Match of a write must be *.")
        if self._store.get(bucket, key) is not None:
            raise Refusal(
                412,
                "PreconditionFailed",
                "At least one of the pre-conditions you specified did not hold",
            )

    def _get(self, request: HttpRequest, bucket: str, key: str) -> HttpResponse:
        stored = self._existing(bucket, key)
        modified = datetime.fromtimestamp(int(stored.modified), UTC)
        headers = {
            "ETag": s3_xml.quoted(stored.etag),
            "Last-Modified": format_datetime(modified, usegmt=True),
            "Content-Type": stored.content_type,
            "Accept-Ranges": "bytes",
            **stored.options.headers(),
        }
        headers.update({_META + name: value for name, value in stored.metadata.items()})
        span = None
        if "range" in request.headers:
            try:
                span = parse_range(request.headers["range"], stored.blob.size)
            except ValueError:
                raise Refusal(
                    416, "InvalidRange", "The requested range is not satisfiable"
                ) from None
        if span is None:
            if stored.checksum and request.headers.get("x-amz-checksum-mode") == "ENABLED":
                headers[stored.checksum[0]] = stored.checksum[1]
            return HttpResponse(200, headers, Slice(stored.blob, 0, stored.blob.size))
        headers["Content-Range"] = f"bytes {span[0]}-{span[1] - 1}/{stored.blob.size}"
        return HttpResponse(206, headers, Slice(stored.blob, *span))

    # Multipart

    def _create_upload(self, request: HttpRequest, bucket: str, key: str) -> HttpResponse:
        options = read_options(request.headers)
        upload = Upload(
            bucket=bucket,
            key=key,
            content_type=_content_type(request),
            metadata=_metadata(request),
            options=options,
            is_composite=request.headers.get("x-amz-checksum-type", "COMPOSITE") == "COMPOSITE",
        )
        upload_id = self._uploads.create(upload)
        body = s3_xml.document(
            "InitiateMultipartUploadResult",
            s3_xml.element("Bucket", bucket)
            + s3_xml.element("Key", key)
            + s3_xml.element("UploadId", upload_id),
        )
        headers = _XML | options.encryption
        for name in ("x-amz-checksum-algorithm", "x-amz-checksum-type"):
            if name in request.headers:
                headers[name] = request.headers[name]
        return HttpResponse(200, headers, body)

    async def _put_part(
        self, request: HttpRequest, bucket: str, key: str, upload_id: str, query: dict[str, str]
    ) -> HttpResponse:
        number = query.get("partNumber", "")
        md5 = await check_body(request.body, _digests(request))
        # Looked up after the wait: the upload may have been aborted meanwhile.
        upload = self._uploads.get(upload_id, bucket, key)
        checksum = given_checksum(_digests(request))
        part = Part(request.body, md5, checksum)
        self._uploads.put_part(upload, whole_number(number) or 0, part)
        request.body = Blob(0)  # it belongs to the store now
        headers = {"ETag": s3_xml.quoted(md5), **upload.options.encryption}
        if checksum is not None:
            headers[checksum[0]] = checksum[1]
        return HttpResponse(200, headers)

    async def _complete(
        self, request: HttpRequest, bucket: str, key: str, upload_id: str
    ) -> HttpResponse:
        upload = self._uploads.get(upload_id, bucket, key)
        self._check_absent(request, bucket, key)
        root = s3_xml.read(request.body.read())
        size = request.headers.get("x-amz-mp-object-size", "")
        named = [_named_part(node) for node in root.iter("Part")]
        whole = await self._uploads.join(upload_id, upload, named, size)
        stored = StoredObject(
            blob=whole.blob,
            etag=whole.etag,
            content_type=upload.content_type,
            modified=self._clock.now(),
            metadata=upload.metadata,
            checksum=whole.checksum,
            options=upload.options,
        )
        self._store.put(bucket, key, stored)
        body = s3_xml.document(
            "CompleteMultipartUploadResult",
            s3_xml.element("Bucket", bucket)
            + s3_xml.element("Key", key)
            + s3_xml.element("ETag", s3_xml.quoted(whole.etag)),
        )
        return HttpResponse(200, _XML | upload.options.encryption, body)


def _named_part(node: Element) -> NamedPart:
    checksums = {
        PREFIX + child.tag.removeprefix("Checksum").lower(): child.text or ""
        for child in node
        if child.tag.startswith("Checksum")
    }
    number = _part_number(node.findtext("PartNumber", ""))
    return NamedPart(number, node.findtext("ETag", "").strip('"'), checksums)


def _part_number(text: str) -> int:
    number = whole_number(text)
    if number is None:
        raise Refusal(400, "MalformedXML", "The XML you provided was not well-formed.")
    return number


def _digests(request: HttpRequest) -> dict[str, str]:
    """Return the headers, and with them the checksums that came behind the body."""
    if not request.trailers:
        return request.headers
    checksums = {name: value for name, value in request.trailers.items() if name.startswith(PREFIX)}
    return checksums | request.headers


def _content_type(request: HttpRequest) -> str:
    return request.headers.get("content-type", "binary/octet-stream")


def _metadata(request: HttpRequest) -> dict[str, str]:
    return {
        name.removeprefix(_META): value
        for name, value in request.headers.items()
        if name.startswith(_META)
    }


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """Return the half-open span of a Range header.

    Args:
        header: Its value.
        size: Size of the object in bytes.

    Returns:
        ``(start, stop)``, or None where the header has to be ignored (several ranges, another
        unit), as HTTP wants it.

    Raises:
        ValueError: The range lies outside of the object.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        start, stop = max(size - int(match[2]), 0), size
    else:
        start = int(match[1])
        stop = min(int(match[2]) + 1, size) if match[2] else size
        if match[2] and int(match[2]) < start:
            return None
    if start >= size or start >= stop:
        raise ValueError(header)
    return start, stop
