"""XML of S3: documents written and read."""

from urllib.parse import quote
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from dispatcher.emulator.clock import iso_time
from dispatcher.emulator.http.message import Refusal
from dispatcher.emulator.s3.listing import ListingPage
from dispatcher.emulator.s3.store import StoredBucket

_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


def document(root: str, content: str) -> bytes:
    """Return a whole document."""
    return f'{_DECLARATION}<{root} xmlns="{_NAMESPACE}">{content}</{root}>'.encode()


def element(name: str, value: str | int) -> str:
    """Return one element with a text."""
    return f"<{name}>{escape(str(value))}</{name}>"


def error(refusal: Refusal, resource: str) -> bytes:
    """Return an error document, which has no namespace."""
    content = element("Code", refusal.code) + element("Message", refusal.message or "")
    content += element("Resource", resource)
    content += "".join(element(name, value) for name, value in refusal.details.items())
    return f"{_DECLARATION}<Error>{content}</Error>".encode()


def tagging(tags: dict[str, str]) -> bytes:
    """Return the document of GetObjectTagging."""
    parts = (
        f"<Tag>{element('Key', key)}{element('Value', value)}</Tag>" for key, value in tags.items()
    )
    return document("Tagging", f"<TagSet>{''.join(parts)}</TagSet>")


def listing(
    bucket_name: str,
    bucket: StoredBucket,
    page: ListingPage,
    *,
    query: dict[str, str],
    limit: int,
    next_token: str | None,
) -> bytes:
    """Return the document of one page of ListObjectsV2; ``query`` is the request's."""
    encoded = query.get("encoding-type") == "url"

    def name(text: str) -> str:
        return quote(text, safe="/") if encoded else text

    parts = [
        element("Name", bucket_name),
        element("Prefix", name(query.get("prefix", ""))),
        element("MaxKeys", limit),
        element("KeyCount", len(page.keys) + len(page.prefixes)),
        element("IsTruncated", "true" if next_token else "false"),
    ]
    for parameter, tag in (("delimiter", "Delimiter"), ("start-after", "StartAfter")):
        if query.get(parameter):
            parts.append(element(tag, name(query[parameter])))
    if "continuation-token" in query:
        parts.append(element("ContinuationToken", query["continuation-token"]))
    if next_token:
        parts.append(element("NextContinuationToken", next_token))
    if encoded:
        parts.append(element("EncodingType", "url"))
    for key in page.keys:
        stored = bucket.objects[key]
        parts.append(
            f"<Contents>{element('Key', name(key))}"
            f"{element('LastModified', iso_time(stored.modified))}"
            f"{element('ETag', quoted(stored.etag))}{element('Size', stored.blob.size)}"
            f"{element('StorageClass', 'STANDARD')}</Contents>"
        )
    parts.extend(
        f"<CommonPrefixes>{element('Prefix', name(prefix))}</CommonPrefixes>"
        for prefix in page.prefixes
    )
    return document("ListBucketResult", "".join(parts))


def quoted(etag: str) -> str:
    """Return an ETag in its quotes."""
    return f'"{etag}"'


def read(body: bytes) -> ET.Element:
    """Parse a request's document; names lose their namespace.

    Raises:
        Refusal: MalformedXML.
    """
    try:
        # expat since 2.4.1 bounds entity expansion by itself.
        root = ET.fromstring(body)  # noqa: S314
    except (ET.ParseError, LookupError, ValueError) as fault:  # the latter two: odd encodings
        raise Refusal(400, "MalformedXML", "The XML you provided was not well-formed.") from fault
    for node in root.iter():
        node.tag = node.tag.rpartition("}")[2]
    return root
