"""Objects for the stores, and the codes of S3's refusals."""

import hashlib
from xml.etree import ElementTree as ET

from dispatcher.emulator.http.blob import Blob
from dispatcher.emulator.s3.store import StoredObject


def stored_object(data: bytes, content_type: str = "a/b") -> StoredObject:
    etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return StoredObject(
        blob=Blob.of(data),
        etag=etag,
        content_type=content_type,
        modified=5.0,
        metadata={"who": "me"},
        checksum=("x", "y"),
    )


def error_code(body: bytes) -> str | None:
    return ET.fromstring(body).findtext("Code")
