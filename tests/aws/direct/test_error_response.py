"""Error responses, against botocore's parsers on the same bytes."""

import json
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from botocore.parsers import JSONParser, RestJSONParser, RestXMLParser
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.aws.direct.error_response import parse_xml, phrase, read_json, read_xml
from dispatcher.aws.http.response import Response
from tests.aws.reference import texts

hundreds = settings(max_examples=500, derandomize=True, database=None, deadline=None)

JSON = '{"message": "no", "__type": "com.amazonaws.sqs#QueueDoesNotExist"}'
ERROR = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    "<Error><Code>NoSuchKey</Code><Message>It is &lt;not&gt; there &#228;</Message>"
    "<Key>a</Key><RequestId>1</RequestId><HostId>2</HostId></Error>"
)


def by_botocore(
    parser: Any, status: int, body: bytes, headers: dict[str, str] | None = None
) -> tuple[str, str]:
    """Return code and message as ``dispatcher.aws.error_mapping.translate`` sees them."""
    response = {"status_code": status, "headers": headers or {}, "body": body}
    said = parser.parse(response, None)["Error"]
    return said.get("Code"), said.get("Message") or ""


def answered(status: int, body: bytes, headers: dict[str, str] | None = None) -> Response:
    given = {name.encode(): value.encode() for name, value in (headers or {}).items()}
    return Response(status, given, body)


# SageMaker and SQS


@pytest.mark.parametrize(
    ("status", "headers", "body", "code", "message"),
    [
        (400, {}, '{"message": "no", "__type": "ValidationError"}', "ValidationError", "no"),
        (400, {}, '{"Message": "no", "__type": "ns.v1#ValidationError"}', "ValidationError", "no"),
        (400, {}, '{"code": "ValidationError", "message": "no"}', "ValidationError", "no"),
        (400, {}, '{"Code": "ValidationError", "Message": "no"}', "ValidationError", "no"),
        (400, {"x-amzn-errortype": "ModelError"}, '{"Message": "it"}', "ModelError", "it"),
        (
            400,
            {"x-amzn-errortype": "ThrottlingException:http://internal.amazon.com/coral/x/"},
            '{"message": "Rate exceeded"}',
            "ThrottlingException",
            "Rate exceeded",
        ),
        (400, {"x-amzn-errortype": "ns#A:http://x#b"}, "{}", "A", ""),
        (403, {"x-amzn-errortype": "A"}, '{"code": "B", "__type": "C"}', "A", ""),
        (403, {}, '{"code": "B", "__type": "C"}', "B", ""),
        (404, {}, '{"message": "no"}', "404", "no"),
        (500, {}, "", "500", "Internal Server Error"),
        (503, {}, "<html><body>Service Unavailable</body></html>", "503", "Service Unavailable"),
        (503, {}, " \n", "503", "Service Unavailable"),
        (599, {}, "", "599", ""),
        (400, {}, "", "400", None),
        (400, {}, "{}", "400", None),
        (502, {}, "not JSON", "502", None),
        (403, {}, "<html>", "403", None),
        (400, {}, '{"message": null, "__type": "A"}', "A", ""),
        (400, {}, '{"message": "\\u00e4", "__type": "A"}', "A", "ä"),
        (400, {}, '{"message": "a", "Message": "b", "__type": "A"}', "A", "a"),
    ],
)
def test_a_refusal_of_sagemaker(
    status: int, headers: dict[str, str], body: str, code: str, message: str | None
) -> None:
    ours = read_json(answered(status, body.encode(), headers))
    theirs = by_botocore(RestJSONParser(), status, body.encode(), headers)
    assert ours[0] == theirs[0] == code
    # Where there is no word of the service, they may say the status in words or a whole page.
    if message is not None:
        assert ours[1] == theirs[1] == message


@pytest.mark.parametrize(
    ("headers", "body", "code", "message"),
    [
        ({}, JSON, "QueueDoesNotExist", "no"),
        (
            {"x-amzn-query-error": "AWS.SimpleQueueService.NonExistentQueue;Sender"},
            JSON,
            "AWS.SimpleQueueService.NonExistentQueue",
            "no",
        ),
        ({"x-amzn-query-error": "OnlyOnePart"}, JSON, "QueueDoesNotExist", "no"),
        ({"x-amzn-query-error": ";Sender"}, JSON, "QueueDoesNotExist", "no"),
        ({"x-amzn-query-error": "a;b;c"}, JSON, "QueueDoesNotExist", "no"),
        ({"x-amzn-query-error": ""}, JSON, "QueueDoesNotExist", "no"),
        ({"x-amzn-query-error": "a;"}, JSON, "a", "no"),
        ({"x-amzn-query-error": "RequestThrottled;Sender"}, "{}", "RequestThrottled", ""),
        ({}, '{"__type": "com.amazon.coral.service#AccessDenied:x"}', "AccessDenied", ""),
    ],
)
def test_a_refusal_of_sqs(headers: dict[str, str], body: str, code: str, message: str) -> None:
    ours = read_json(answered(400, body.encode(), headers))
    assert ours == by_botocore(JSONParser(), 400, body.encode(), headers) == (code, message)


codes = texts("aZ.#:", max_size=8, exclude_categories=["Cs"])
statuses = st.integers(301, 599)
text = st.text(st.characters(exclude_categories=["Cs"]))
spaces = st.sampled_from(["", " ", "\n\t"])
in_a_header = texts("a#:", max_size=8, min_codepoint=32, max_codepoint=126)


@hundreds
@given(
    statuses,
    st.fixed_dictionaries(
        {},
        optional={
            "__type": codes,
            "code": codes,
            "Code": codes,
            "message": text,
            "Message": text,
            "other": st.one_of(st.none(), st.integers(-9, 9), text, st.lists(text)),
        },
    ),
    st.none() | in_a_header,
    spaces,
)
def test_any_refusal_of_sagemaker(
    status: int, said: dict[str, object], error_type: str | None, space: str
) -> None:
    headers = {} if error_type is None else {"x-amzn-errortype": error_type}
    body = f"{space}{json.dumps(said)}{space}".encode()
    code, message = by_botocore(RestJSONParser(), status, body, headers)
    ours = read_json(answered(status, body, headers))
    named = [error_type, *(said.get(name) for name in ("code", "Code", "__type"))]
    if code and "" not in named:  # who names an empty code, names none
        assert ours[0] == code
    if said.get("message"):
        assert ours[1] == message


@hundreds
@given(
    statuses,
    st.fixed_dictionaries({}, optional={"__type": codes, "message": text, "Message": text}),
    st.none() | st.lists(in_a_header.filter(lambda t: not set(t) & set(":#"))).map(";".join),
)
def test_any_refusal_of_sqs(status: int, said: dict[str, str], query_error: str | None) -> None:
    headers = {} if query_error is None else {"x-amzn-query-error": query_error}
    body = json.dumps(said).encode()
    code, message = by_botocore(JSONParser(), status, body, headers)
    ours = read_json(answered(status, body, headers))
    if code:
        assert ours[0] == code or said.get("__type") == ""
    if said.get("message"):
        assert ours[1] == message


# S3


@pytest.mark.parametrize(
    ("status", "body", "code", "message"),
    [
        (404, ERROR, "NoSuchKey", "It is <not> there ä"),
        (403, "<Error><Message>m</Message><Code>AccessDenied</Code></Error>", "AccessDenied", "m"),
        (503, "<Error><Code>SlowDown</Code></Error>", "SlowDown", ""),
        (503, "<Error><Code>SlowDown</Code><Message/></Error>", "SlowDown", ""),
        (404, "", "404", "Not Found"),
        (403, "", "403", "Forbidden"),
        (301, "", "301", "Moved Permanently"),
        (500, "", "500", "Internal Server Error"),
        (500, " ", "500", "Internal Server Error"),
        (502, "<html><body>Bad Gateway</body></html>", "502", "Bad Gateway"),
        (503, "<html><Code>x</Code></html>", "503", "Service Unavailable"),
        (400, "<Error><Code>Cut", "400", "Bad Request"),
        (400, "not XML", "400", "Bad Request"),
        (418, "not XML", "418", "I'm a Teapot"),
        (599, "not XML", "599", ""),
        # Whatever a document calls its encoding, S3 speaks UTF-8.
        (
            403,
            '<?xml version="1.0" encoding="foo"?><Error><Code>ä</Code></Error>',
            "ä",
            "",
        ),
        (
            403,
            '<?xml version="1.0" encoding="utf-7"?><Error><Code>A</Code></Error>',
            "A",
            "",
        ),
    ],
)
def test_a_refusal_of_s3(status: int, body: str, code: str, message: str) -> None:
    ours = read_xml(answered(status, body.encode()))
    assert ours == by_botocore(RestXMLParser(), status, body.encode()) == (code, message)


@pytest.mark.parametrize(
    "body", ["<!DOCTYPE html><html><Code>x</Code></html>", " <HTML><Code>x</Code></HTML>"]
)
def test_a_page_of_html_is_no_word_of_s3(body: str) -> None:
    assert read_xml(answered(403, body.encode())) == ("403", "Forbidden")


in_xml = texts("a& <;\t\n😀", min_codepoint=32, max_codepoint=0xD7FF)


@hundreds
@given(
    statuses,
    st.lists(
        st.tuples(st.sampled_from(["Code", "Message", "Key", "RequestId", "HostId"]), in_xml),
        unique_by=lambda pair: pair[0],
    ),
    spaces,
)
def test_any_refusal_of_s3(status: int, said: list[tuple[str, str]], space: str) -> None:
    root = ET.Element("Error")
    for name, value in said:
        child = ET.SubElement(root, name)
        child.text, child.tail = value, space
    body = ET.tostring(root, encoding="utf-8") + space.encode()
    code, message = by_botocore(RestXMLParser(), status, body)
    ours = read_xml(answered(status, body))
    if code:
        assert ours == (code, message)
    else:
        assert ours == (str(status), phrase(status))


# Whatever comes

garbage = st.one_of(
    st.binary(),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["__type", "code", "Code", "message", "Message", "x"]), inner
            )
        ),
    ).map(lambda value: json.dumps(value).encode()),
)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Draw a document of which some bytes are others, or missing, or twice there."""
    body = bytearray(whole)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(body)))
        body[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(body)


@hundreds
@given(
    st.integers(300, 599),
    st.dictionaries(
        st.sampled_from([b"x-amzn-errortype", b"x-amzn-query-error"]), st.binary(max_size=12)
    ),
    st.one_of(garbage, damaged(JSON.encode()), damaged(ERROR.encode())),
)
def test_no_refusal_is_an_error(status: int, headers: dict[bytes, bytes], body: bytes) -> None:
    refusal = Response(status, headers, body)
    for code, message in (read_json(refusal), read_xml(refusal)):
        assert code
        assert isinstance(code, str)
        assert isinstance(message, str)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b"<a>" * 100_000,
        b"\xef\xbb\xbf{}",
        b"\xff\xfe<\0a\0",
        b"\0",
        b'<?xml version="1.0" encoding="hex"?><Error/>',
        b'<?xml version="1.0" encoding="idna"?><Error/>',
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;&d;</a>',
        b'<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "%s"><!ENTITY d "%s">]><a>%s</a>'
        % (b"&b;" * 1000, b"&c;" * 1000, b"&d;" * 1000),
        b'<!DOCTYPE a SYSTEM "file:///dev/null"><Error><Code>A</Code></Error>',
        b'{"code": {"a": 1}, "message": ["b"]}',
        b'{"code": 1e999}',
        b'"code"',
        b"[]",
        b"null",
    ],
    ids=lambda body: repr(body[:24]),
)
def test_bodies_that_are_made_to_break_a_parser(body: bytes) -> None:
    refusal = Response(403, {}, body)
    assert read_json(refusal)[0]
    assert read_xml(refusal)[0]


@pytest.mark.parametrize("encoding", ["foo", "utf-7", "big5", "hex", "idna", "utf-16", "latin-1"])
def test_a_list_in_an_encoding_that_is_none_is_read_all_the_same(encoding: str) -> None:
    body = f'<?xml version="1.0" encoding="{encoding}"?><a><Key>ä</Key></a>'.encode()
    assert parse_xml(body).findtext("Key") == "ä"
