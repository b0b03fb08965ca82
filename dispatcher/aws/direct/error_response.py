"""What an answer that is no success says, read as botocore would, and made one of our errors."""

import re
from http import HTTPStatus
from xml.etree import ElementTree as ET

import orjson

from dispatcher.aws.http.response import Response

_HTML = re.compile(rb"\s*<(?:!doctype\s+)?html", re.IGNORECASE)


def read_json(answer: Response) -> tuple[str, str]:
    """Return code and message of a refusal of SageMaker or SQS.

    The code may be in a header (with a URL behind a colon, as in throttling), in the body (behind a
    namespace), or be none but the status.
    """
    said = _json(answer.body)
    code, *kind = (answer.header(b"x-amzn-query-error") or "").split(";")
    if not code or len(kind) != 1:
        named = answer.header(b"x-amzn-errortype")
        code = named or _text(said, "code") or _text(said, "Code") or _text(said, "__type")
    code = code.partition(":")[0].rpartition("#")[2]
    message = _text(said, "message") or _text(said, "Message") or _text(said, "errorMessage")
    return code or str(answer.status), message or (phrase(answer.status) if not code else "")


def read_xml(answer: Response) -> tuple[str, str]:
    """Return code and message of a refusal of S3; a HEAD has only its status."""
    if answer.body and not _HTML.match(answer.body):
        try:
            root = parse_xml(answer.body)
        except ET.ParseError:
            pass
        else:
            if code := root.findtext("Code"):
                return code, root.findtext("Message") or ""
    return str(answer.status), phrase(answer.status)


def parse_xml(body: bytes) -> ET.Element:
    """Return the root of an answer of S3.

    Raises:
        ParseError: It is not XML, or not in UTF-8.
    """
    # The parser of botocore; expat bounds what entities may grow to. Without the encoding, one
    # that the document names and that Python does not know would be another error.
    return ET.fromstring(body, ET.XMLParser(encoding="utf-8"))  # noqa: S314 - as said


def phrase(status: int) -> str:
    """Return the words that go with an HTTP status, or none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _json(body: bytes) -> dict[str, object]:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) else {}


def _text(said: dict[str, object], name: str) -> str:
    value = said.get(name)
    return value if isinstance(value, str) else ""
