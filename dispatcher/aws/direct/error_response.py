"""Parser of error responses: code and message, as botocore reads them."""

import re
from http import HTTPStatus
from xml.etree import ElementTree as ET

import orjson

from dispatcher.aws.http.response import Response

_HTML = re.compile(rb"\s*<(?:!doctype\s+)?html", re.IGNORECASE)


def read_json(response: Response) -> tuple[str, str]:
    """Return code and message of an error response of SageMaker or SQS.

    The code may be in a header (with a URL behind a colon, as in throttling), in the body (behind a
    namespace), or be just the status.
    """
    document = _parse_json(response.body)
    code, *rest = (response.header(b"x-amzn-query-error") or "").split(";")
    if not code or len(rest) != 1:
        error_type = response.header(b"x-amzn-errortype")
        code = (
            error_type
            or _text(document, "code")
            or _text(document, "Code")
            or _text(document, "__type")
        )
    code = code.partition(":")[0].rpartition("#")[2]
    message = (
        _text(document, "message") or _text(document, "Message") or _text(document, "errorMessage")
    )
    return code or str(response.status), message or (phrase(response.status) if not code else "")


def read_xml(response: Response) -> tuple[str, str]:
    """Return code and message of an error response of S3; after a HEAD it has only its status."""
    if response.body and not _HTML.match(response.body):
        try:
            root = parse_xml(response.body)
        except ET.ParseError:
            pass
        else:
            if code := root.findtext("Code"):
                return code, root.findtext("Message") or ""
    return str(response.status), phrase(response.status)


def parse_xml(body: bytes) -> ET.Element:
    """Return the root of a response of S3.

    Raises:
        ParseError: It is not XML, or not in UTF-8.
    """
    # The parser of botocore; expat bounds the size of entities. Without the encoding, a document
    # that names one unknown to Python would raise another error.
    return ET.fromstring(body, ET.XMLParser(encoding="utf-8"))  # noqa: S314 - as said


def phrase(status: int) -> str:
    """Return the reason phrase of an HTTP status, or an empty text."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _parse_json(body: bytes) -> dict[str, object]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def _text(document: dict[str, object], name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) else ""
