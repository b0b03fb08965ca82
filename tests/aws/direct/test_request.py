"""Signed requests: the bytes on the wire, signed again by botocore, and those never sent."""

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast
from urllib.parse import parse_qsl, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.aws.direct.address import Address
from dispatcher.aws.direct.bucket import DirectBucket
from dispatcher.aws.direct.caller import Caller
from dispatcher.aws.direct.clock_skew import ClockSkew
from dispatcher.aws.direct.credentials import SigningCredentials
from dispatcher.aws.direct.error_response import read_json
from dispatcher.aws.direct.request import (
    EMPTY_SHA256,
    Request,
    RequestTemplate,
    UnsafeHeaderError,
    signed_head,
)
from dispatcher.aws.direct.runtime import DirectRuntime
from dispatcher.aws.direct.sigv4 import Keys, Signer, canonical_headers
from dispatcher.aws.direct.sqs import DirectSqs
from dispatcher.aws.http.connection import Connection
from dispatcher.aws.http.pool import Pool
from dispatcher.aws.http.response import ResponseReader
from dispatcher.aws.queue import Queue
from dispatcher.aws.requests import InvokeRequest, PutOptions, tagging_of
from dispatcher.aws.sdk.bucket import SdkBucket
from dispatcher.errors import Denied, Rejected
from tests.aws.reference import signed_by_botocore, texts

NOW = 1_767_225_600.0
KEYS = Keys("AKIDEXAMPLE", "secret")
WITH_TOKEN = Keys("ASIAEXAMPLE", "secret", "IQoJb3JpZ2luX2VjEXAMPLE//=")
ODD_KEYS = [
    "a",
    " a  b ",
    "a+b&c=d?e#f",
    "%41%2F%",
    "//a//",
    "./a/../b/.",
    "..",
    "~'\"()*!;:@,$[]{}|\\^`<>",
    "ä/漢/😀",
    "line\r\nbreak\0\x7f",
]
by_example = settings(max_examples=150, derandomize=True, database=None, deadline=None)


@dataclass
class Wire:
    """A pool of one connection that keeps what is sent and always responds the same."""

    body: bytes
    sent: list[tuple[bytes, bytes]] = field(default_factory=list)
    _reader: ResponseReader = field(default_factory=ResponseReader)

    def acquire_idle(self) -> "Wire":
        return self

    def release(self, connection: object) -> None:
        assert connection is self

    async def exchange(
        self,
        head: bytes,
        body: bytes,
        *,
        is_head: bool,
        max_body_bytes: int,
        wants_body: bool = True,
    ) -> ResponseReader:
        self.sent.append((head, body))
        length = f"content-length: {len(self.body)}\r\n\r\n"
        self._reader.begin(
            is_head=is_head, max_body_bytes=max_body_bytes, accepts_any_length=not wants_body
        )
        shown_body = b"" if is_head else self.body
        self._reader.feed(f"HTTP/1.1 200 OK\r\n{length}".encode() + shown_body)
        return self._reader

    async def finish(self) -> ResponseReader:
        return self._reader


class Frozen:
    """Credentials that are never renewed."""

    def __init__(self, keys: Keys) -> None:
        self.access_key = keys.access_key_id
        self.secret_key = keys.secret_access_key
        self.token = keys.session_token

    async def get_frozen_credentials(self) -> "Frozen":
        return self


@dataclass
class Head:
    """The head of a request, read back."""

    method: str
    target: str
    headers: list[tuple[str, str]]

    @classmethod
    def read(cls, head: bytes) -> "Head":
        assert head.endswith(b"\r\n\r\n")
        first, *lines = head[:-4].decode().split("\r\n")
        method, target, version = first.split(" ")
        assert version == "HTTP/1.1"
        pairs = [line.split(":", 1) for line in lines]
        return cls(method, target, [(name, value) for name, value in pairs])

    def __getitem__(self, name: str) -> str:
        (value,) = (value for found, value in self.headers if found == name)
        return value

    def __contains__(self, name: str) -> bool:
        return any(found == name for found, _ in self.headers)


ADDRESSES = {
    "sagemaker": Address(
        scheme="https",
        host="runtime.sagemaker.eu-west-1.amazonaws.com",
        port=443,
        authority="runtime.sagemaker.eu-west-1.amazonaws.com",
        path="/",
        region="eu-west-1",
        service="sagemaker",
    ),
    "sqs": Address(
        scheme="http",
        host="::1",
        port=4599,
        authority="[::1]:4599",
        path="/",
        region="eu-west-1",
        service="sqs",
    ),
    "s3": Address(
        scheme="https",
        host="b.s3.x.com",
        port=443,
        authority="b.s3.x.com",
        path="/",
        region="eu-west-1",
        service="s3",
    ),
    "s3 plain": Address(
        scheme="http",
        host="127.0.0.1",
        port=80,
        authority="127.0.0.1",
        path="/",
        region="eu-west-1",
        service="s3",
    ),
}


def caller(
    address: Address, keys: Keys, *, base: str = "", body: bytes = b"{}"
) -> tuple[Caller, Wire]:
    wire = Wire(body)
    made = Caller(
        address,
        base=base,
        pool=cast("Pool", wire),
        credentials=SigningCredentials(Frozen(keys)),
        clock=ClockSkew(lambda: NOW),
        read_error=read_json,
    )
    return made, wire


def check(wire: Wire, address: Address, keys: Keys) -> Head:
    """Sign again, with botocore, what was sent, and return its head."""
    ((raw, body),) = wire.sent
    head = Head.read(raw)
    assert head["host"] == address.authority
    assert head["content-length"] == str(len(body))
    assert ("x-amz-security-token" in head) == (keys.session_token is not None)
    own = {"host", "authorization", "content-length"}
    request = signed_by_botocore(
        address.service,
        address.region,
        keys,
        head.method,
        f"{address.scheme}://{address.authority}{head.target}",
        headers=[
            (name, value)
            for name, value in head.headers
            if name not in own | {"x-amz-date", "x-amz-security-token", "x-amz-content-sha256"}
        ],
        body=body,
        now=NOW,
        context={
            # As botocore knows it of PutObject.
            "checksum": {"request_algorithm": {"in": "header", "name": "x-amz-checksum-crc32"}},
            "has_streaming_input": True,
        },
    )
    assert head["authorization"] == request.headers["Authorization"]
    assert head["x-amz-date"] == request.headers["X-Amz-Date"]
    assert head.headers[-1][0] == "content-length"
    signed = [pair for pair in head.headers if pair[0] not in own - {"host"}]
    lines, names = canonical_headers(signed)
    assert f"SignedHeaders={names}," in head["authorization"]
    # Sorted, complete and each once: the lines that go over the wire are the lines of the names.
    sent = [name for name, _ in signed if name != "user-agent"]
    assert sent == names.split(";") == sorted(set(sent))
    assert lines.count("\n") == len(sent)
    return head


@pytest.fixture(params=[KEYS, WITH_TOKEN], ids=["keys", "token"])
def keys(request: pytest.FixtureRequest) -> Keys:
    return cast("Keys", request.param)


def invocation(**given: Any) -> InvokeRequest:
    fields: dict[str, Any] = {
        "endpoint": "churn",
        "inference_id": "01JC-7",
        "content_type": "application/json",
        "output_extension": "tag/0",
        "filename": "01JC-7.out",
        "body": b"{}",
        "input_location": None,
        "accept": None,
        "custom_attributes": None,
        "ttl": 60,
        "timeout": 30,
    }
    return InvokeRequest(**{**fields, **given})


PREFIX = "x-amzn-sagemaker-"


@pytest.mark.parametrize(
    ("route", "accept", "attributes", "base"),
    list(
        itertools.product(
            [{"body": b"\0\xff" * 9}, {"body": b""}, {"body": None, "input_location": "s3://b/k"}],
            [None, 'text/csv;  header="a   b" '],
            [None, "trace=1,2"],
            ["", "/some%20api"],
        )
    ),
)
async def test_an_invocation_is_signed_as_botocore_would(
    keys: Keys, route: dict[str, object], accept: str | None, attributes: str | None, base: str
) -> None:
    address = ADDRESSES["sagemaker"]
    made, wire = caller(address, keys, base=base)
    runtime = DirectRuntime(made)
    await runtime.invoke(invocation(accept=accept, custom_attributes=attributes, **route))
    head = check(wire, address, keys)
    assert head.method == "POST"
    assert head.target == f"{base}/endpoints/churn/async-invocations"
    assert (f"{PREFIX}accept" in head) == (accept is not None)
    assert (f"{PREFIX}custom-attributes" in head) == (attributes is not None)
    assert (f"{PREFIX}inputlocation" in head) == ("input_location" in route)
    assert head[f"{PREFIX}content-type"] == "application/json"
    assert head[f"{PREFIX}inference-id"] == "01JC-7"
    assert head[f"{PREFIX}filename"] == "01JC-7.out"
    assert head[f"{PREFIX}s3outputpathextension"] == "tag/0"
    assert head[f"{PREFIX}requestttlseconds"] == "60"
    assert head[f"{PREFIX}invocationtimeoutseconds"] == "30"


async def test_what_requests_share_is_kept_apart_from_what_they_do_not() -> None:
    made, wire = caller(ADDRESSES["sagemaker"], KEYS)
    runtime = DirectRuntime(made)
    asked = [
        invocation(accept=accept, ttl=ttl, timeout=timeout, endpoint=endpoint, **route)
        for accept, ttl, timeout, endpoint, route in itertools.product(
            [None, "a/b", "c/d"],
            [60, 61],
            [30, 31],
            ["churn", "other"],
            [{}, {"body": None, "input_location": "s3://b/k"}],
        )
    ]
    for request in [*asked, *asked]:
        wire.sent.clear()
        await runtime.invoke(request)
        head = check(wire, ADDRESSES["sagemaker"], KEYS)
        assert head.target == f"/endpoints/{request.endpoint}/async-invocations"
        assert (f"{PREFIX}accept" in head) == (request.accept is not None)
        assert head[f"{PREFIX}requestttlseconds"] == str(request.ttl)
        assert head[f"{PREFIX}invocationtimeoutseconds"] == str(request.timeout)


async def test_a_run_of_blanks_in_a_key_is_sent_as_it_stands(keys: Keys) -> None:
    address = ADDRESSES["sagemaker"]
    made, wire = caller(address, keys)
    location = "s3://bucket/my  own   folder/k"
    await DirectRuntime(made).invoke(invocation(body=None, input_location=location))
    assert check(wire, address, keys)[f"{PREFIX}inputlocation"] == location


async def test_text_that_is_not_ascii_is_sent_in_utf_8() -> None:
    address = ADDRESSES["sagemaker"]
    made, wire = caller(address, KEYS)
    request = invocation(
        body=None,
        input_location="s3://bucket/ä/漢😀",
        accept="text/ö",
        custom_attributes="ß=1",
        content_type="application/é",
    )
    await DirectRuntime(made).invoke(request)
    check(wire, address, KEYS)
    raw = wire.sent[0][0]
    for name, value in [
        ("inputlocation", "s3://bucket/ä/漢😀"),
        ("accept", "text/ö"),
        ("custom-attributes", "ß=1"),
        ("content-type", "application/é"),
    ]:
        assert f"\r\n{PREFIX}{name}:{value}\r\n".encode() in raw


NO_SDK = SdkBucket(None, "bucket", 1.0)
"""None of these calls goes there."""

BucketCall = Callable[[DirectBucket, str], Awaitable[object]]


async def put(bucket: DirectBucket, key: str) -> None:
    await bucket.put(key, b"body", " application/json;  encoding=gzip ")


async def put_encrypted(bucket: DirectBucket, key: str) -> None:
    tagging = tagging_of({"team": "search & rescue", key[:9]: "ä+ü/="})
    options = PutOptions("aws:kms", "arn:aws:kms:eu-west-1:1:key/a-b", tagging)
    await bucket.put(key, b"body", "application/json", options)


async def get(bucket: DirectBucket, key: str) -> None:
    (await bucket.get(key)).close()


async def never() -> None:
    raise AssertionError("the bucket is looked for")


@pytest.mark.parametrize("where", ["s3", "s3 plain"])
@pytest.mark.parametrize("base", ["", "/bucket", "/some%20api/bucket"])
@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("PUT", put),
        ("PUT", put_encrypted),
        ("GET", get),
        ("HEAD", DirectBucket.head),
        ("DELETE", DirectBucket.delete),
    ],
)
async def test_a_call_to_an_object_is_signed_as_botocore_would(
    keys: Keys, where: str, base: str, method: str, call: BucketCall
) -> None:
    for key in ODD_KEYS:
        address = ADDRESSES[where]
        made, wire = caller(address, keys, base=base)
        await call(DirectBucket(name="bucket", caller=made, find_caller=never, sdk=NO_SDK), key)
        head = check(wire, address, keys)
        assert head.method == method
        assert head.target.startswith(f"{base}/")
        assert "?" not in head.target
        assert unquote(head.target.removeprefix(f"{base}/")) == key
        if method == "PUT":
            plain = address.scheme == "http"
            assert (head["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD") != plain
        else:
            assert head["x-amz-content-sha256"] == EMPTY_SHA256


@pytest.mark.parametrize("base", ["", "/bucket"])
async def test_a_list_is_signed_as_botocore_would(keys: Keys, base: str) -> None:
    for prefix in ["", *ODD_KEYS]:
        address = ADDRESSES["s3"]
        made, wire = caller(address, keys, base=base, body=b"<ListBucketResult/>")
        assert (
            await DirectBucket(name="bucket", caller=made, find_caller=never, sdk=NO_SDK).page(
                prefix
            )
            == set()
        )
        path, _, query = check(wire, address, keys).target.partition("?")
        assert path == (base or "/")
        sent = [pair.split("=") for pair in query.split("&")]
        assert [name for name, _ in sent] == ["encoding-type", "list-type", "prefix"]
        assert unquote(sent[2][1]) == prefix


@pytest.mark.parametrize(
    ("operation", "call"),
    [
        ("ReceiveMessage", lambda queue: queue.receive()),
        ("DeleteMessageBatch", lambda queue: queue.delete(["r1", "r2"])),
        ("SendMessageBatch", lambda queue: queue.send(["ä", "\n\0"])),
        ("ChangeMessageVisibilityBatch", lambda queue: queue.change_visibility([("r1", 0)])),
    ],
)
@pytest.mark.parametrize("base", ["", "/some%20api"])
async def test_a_call_to_a_queue_is_signed_as_botocore_would(
    keys: Keys, operation: str, call: Callable[[Queue], Awaitable[object]], base: str
) -> None:
    address = ADDRESSES["sqs"]
    made, wire = caller(address, keys, base=base)
    await call(Queue("https://sqs.eu-west-1.amazonaws.com/1/q", DirectSqs(made)))
    head = check(wire, address, keys)
    assert (head.method, head.target) == ("POST", base or "/")
    assert head["x-amz-target"] == f"AmazonSQS.{operation}"
    assert head["content-type"] == "application/x-amz-json-1.0"


# What must not reach the wire

INJECTED = ["a\r\nx-evil: 1", "a\nx-evil:1", "a\rb", "a\0b", "\n", "\r\n\r\nGET / HTTP/1.1", "a\n"]


async def names_sent(request: InvokeRequest) -> list[str] | None:
    """Return the headers of an invocation, or None if it was rejected and nothing sent."""
    made, wire = caller(ADDRESSES["sagemaker"], KEYS)
    try:
        await DirectRuntime(made).invoke(request)
    except Rejected:
        assert wire.sent == []
        return None
    raw = wire.sent[0][0]
    assert b"\0" not in raw
    lines = raw[:-4].split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    assert lines[0] == b"POST /endpoints/churn/async-invocations HTTP/1.1"
    return [line.partition(b":")[0].decode() for line in lines[1:]]


@pytest.mark.parametrize("value", INJECTED)
@pytest.mark.parametrize("field", ["filename", "inference_id", "output_extension"])
async def test_a_line_break_in_an_id_is_rejected(field: str, value: str) -> None:
    assert await names_sent(invocation(**{field: value})) is None


@pytest.mark.parametrize("value", INJECTED)
async def test_a_line_break_in_an_input_location_is_rejected(value: str) -> None:
    location = f"s3://bucket/{value}/key"
    made, wire = caller(ADDRESSES["sagemaker"], KEYS)
    with pytest.raises(Rejected) as raised:
        await DirectRuntime(made).invoke(invocation(body=None, input_location=location))
    assert raised.value.code == "ParamValidation"
    assert wire.sent == []


@pytest.mark.parametrize("value", INJECTED)
@pytest.mark.parametrize("field", ["content_type", "accept", "custom_attributes"])
async def test_a_line_break_in_a_header_of_the_user_begins_no_other_header(
    field: str, value: str
) -> None:
    fine = await names_sent(invocation(**{field: "a"}))
    assert await names_sent(invocation(**{field: value})) in (None, fine)
    if "\0" in value:
        assert await names_sent(invocation(**{field: value})) is None


anything = texts("ab\r\n\0\t :\x0b\x0c\x1c\x85\u2028", max_size=4, exclude_categories=["Cs"])


@by_example
@given(anything, anything, anything, anything)
async def test_no_text_begins_another_header(
    content_type: str, accept: str, attributes: str, key: str
) -> None:
    given = {
        "body": None,
        "content_type": content_type,
        "accept": accept,
        "custom_attributes": attributes,
        "input_location": f"s3://bucket/{key}",
    }
    plain = dict.fromkeys(given, "a") | {"body": None}
    assert await names_sent(invocation(**given)) in (None, await names_sent(invocation(**plain)))


@by_example
@given(anything)
async def test_no_key_and_no_content_type_begins_another_header(text: str) -> None:
    address = ADDRESSES["s3"]
    made, wire = caller(address, KEYS)
    bucket = DirectBucket(name="bucket", caller=made, find_caller=never, sdk=NO_SDK)
    await bucket.put(text, b"", "a/b")
    assert check(wire, address, KEYS)["content-type"] == "a/b"
    wire.sent.clear()
    try:
        await bucket.put("key", b"", text)
    except Rejected:
        assert "\0" in text
        assert wire.sent == []
    else:
        assert check(wire, address, KEYS).target == "/key"


@by_example
@given(
    st.sampled_from([None, "AES256", "aws:kms"]),
    st.none() | st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1),
    st.dictionaries(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8"))),
    st.booleans(),
)
async def test_any_options_of_a_put_are_signed_as_botocore_would(
    encryption: str | None, kms_key: str | None, tags: dict[str, str], has_token: bool
) -> None:
    keys = replace(KEYS, session_token="token" if has_token else None)
    address = ADDRESSES["s3"]
    made, wire = caller(address, keys)
    options = PutOptions(encryption, kms_key, tagging_of(tags))
    await DirectBucket(name="bucket", caller=made, find_caller=never, sdk=NO_SDK).put(
        "key", b"", "a/b", options
    )
    head = check(wire, address, keys)
    names = ("x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id")
    sent = dict(head.headers)
    values = [sent.get(name) for name in (*names, "x-amz-tagging")]
    assert values == [encryption, kms_key, tagging_of(tags)]
    if tags:
        assert dict(parse_qsl(head["x-amz-tagging"], keep_blank_values=True)) == tags


text_in_a_header = texts(
    "a  ;", min_codepoint=33, exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]
)


@by_example
@given(text_in_a_header, text_in_a_header, text_in_a_header, text_in_a_header, st.booleans())
async def test_any_invocation_is_signed_as_botocore_would(
    content_type: str, accept: str, attributes: str, key: str, has_token: bool
) -> None:
    keys = WITH_TOKEN if has_token else KEYS
    address = ADDRESSES["sagemaker"]
    made, wire = caller(address, keys)
    request = invocation(
        body=None,
        content_type=content_type,
        accept=accept,
        custom_attributes=attributes,
        input_location=f"s3://bucket/{key}x",
    )
    await DirectRuntime(made).invoke(request)
    check(wire, address, keys)


@pytest.mark.parametrize("part", ["before", "between", "after"])
@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b", "a\n\nb"])
def test_an_unsafe_line_is_refused_wherever_it_stands(part: str, value: str) -> None:
    name = {"before": "a;", "between": "i;", "after": ";z"}[part]
    request = Request(RequestTemplate("GET", **{part: name}), "/")
    setattr(request, part, f"{name.strip(';')}:{value}\n")
    with pytest.raises(UnsafeHeaderError):
        signed_head(
            request,
            authority="h",
            base="",
            signer=Signer("s3", "us-east-1"),
            keys=KEYS,
            now=NOW,
        )


@pytest.mark.parametrize(
    "odd",
    ["Q\r\nx-evil: 1", "Q\nQ", "Q\r", "\0Q", "Q Q", " Q", "Q\n", "\tQ", "Q\xe4", "Q\u2028"],
)
@pytest.mark.parametrize("part", ["access_key_id", "secret_access_key", "session_token"])
async def test_credentials_that_hold_what_no_header_can_are_denied(part: str, odd: str) -> None:
    made, wire = caller(ADDRESSES["sqs"], replace(WITH_TOKEN, **{part: odd}))
    for _ in range(2):
        with pytest.raises(Denied, match="key or session token holds a blank or a") as raised:
            await Queue("https://sqs/1/q", DirectSqs(made)).receive()
        assert "Q" not in str(raised.value)
    assert wire.sent == []


def test_a_pool_and_a_connection_have_what_is_stood_in_for_here() -> None:
    assert {"acquire_idle", "release"} <= set(dir(Pool))
    assert {"exchange", "finish"} <= set(dir(Connection))
