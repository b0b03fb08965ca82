"""Caller: any well-formed HTTP response ends a call with a result or with one of our errors."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.aws.http.pool import Pool
from dispatcher.aws.http.response import ResponseReader
from dispatcher.aws.requests import Location
from dispatcher.errors import DispatcherError
from tests.aws.http.peer import Client, invocation, make_client

HERE = Location("bucket", "key")


class Garbled:
    """Pool whose one connection always gives the same response."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self._status = status
        self._headers = headers
        self._body = body
        self._reader = ResponseReader()

    def acquire_idle(self) -> "Garbled":
        return self

    def release(self, connection: object) -> None:
        assert connection is self

    def abort(self) -> None:
        """Be given up."""

    async def exchange(
        self,
        _head: bytes,
        _body: bytes,
        *,
        is_head: bool,
        max_body_bytes: int,
        wants_body: bool = True,
    ) -> ResponseReader:
        self._reader.begin(
            is_head=is_head, max_body_bytes=max_body_bytes, accepts_any_length=not wants_body
        )
        headers = self._headers | {"content-length": str(len(self._body))}
        lines = [f"HTTP/1.1 {self._status} Said", *(f"{n}: {v}" for n, v in headers.items())]
        has_body = not is_head and self._status not in (204, 304)
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        self._reader.feed(head + (self._body if has_body else b""))
        assert self._reader.is_complete
        return self._reader

    async def finish(self) -> ResponseReader:
        return self._reader


async def _read(client: Client) -> object:
    async with client.objects.open(HERE) as incoming:
        return await incoming.read()


CALLS: dict[str, Callable[[Client], Awaitable[object]]] = {
    "invoke": lambda client: client.runtime.invoke(invocation()),
    "put": lambda client: client.objects.put(HERE, b"body", "a/b"),
    "get": _read,
    "head": lambda client: client.objects.exists(HERE),
    "page": lambda client: client.objects.page(HERE),
    "delete": lambda client: client.objects.delete(HERE),
    "receive": lambda client: client.queue.receive(),
    "delete-messages": lambda client: client.queue.delete(["a", "b"]),
    "send": lambda client: client.queue.send(["a", "b"]),
    "change-visibility": lambda client: client.queue.change_visibility([("a", 1), ("b", 2)]),
}

words = st.sampled_from(
    [
        "Messages",
        "Body",
        "ReceiptHandle",
        "Failed",
        "Id",
        "InferenceId",
        "__type",
        "code",
        "Code",
        "message",
        "Message",
        "0",
        "1",
        "99",
        "-1",
        "x",
        "NoSuchKey",
        "ThrottlingException",
    ]
)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(max_size=5)
jsons = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(words | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
names = st.sampled_from(
    ["Error", "Code", "Message", "ListBucketResult", "Contents", "Key", "EncodingType", "Region"]
)
xmls = st.recursive(
    st.sampled_from(["", "url", "k", "%", "%ff", "&amp;", "a+b", "301", "PermanentRedirect"]),
    lambda inner: st.builds(
        lambda name, parts: f"<{name}>{''.join(parts)}</{name}>",
        names,
        st.lists(inner, max_size=3),
    ),
    max_leaves=8,
)
bodies = st.one_of(
    jsons.map(lambda said: json.dumps(said).encode()),
    xmls.map(str.encode),
    xmls.map(lambda said: f'<?xml version="1.0" encoding="utf-16"?>{said}'.encode()),
    st.binary(max_size=30),
)
values = st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=12)
headers = st.dictionaries(
    st.sampled_from(
        [
            "date",
            "content-type",
            "x-amzn-errortype",
            "x-amzn-query-error",
            "x-amz-checksum-crc32",
            "x-amz-bucket-region",
            "location",
            "x-amzn-sagemaker-outputlocation",
        ]
    ),
    values.filter(lambda value: "\x7f" not in value),
    max_size=3,
)
statuses = st.sampled_from([200, 202, 204, 301, 304, 307, 400, 403, 404, 429, 500, 503]) | (
    st.integers(200, 999)
)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@settings(max_examples=300, derandomize=True, database=None, deadline=None)
@given(statuses, headers, bodies)
def test_no_response_ends_a_call_otherwise(
    call: Callable[[Client], Awaitable[object]], status: int, said: dict[str, str], body: bytes
) -> None:
    async def once() -> None:
        client = make_client(cast("Pool", Garbled(status, said, body)), 1)
        with contextlib.suppress(DispatcherError):
            await call(client)

    asyncio.run(once())
