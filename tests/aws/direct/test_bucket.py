"""Bucket client: calls follow a bucket to its region, by both transports."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from dispatcher.aws.objects import Objects
from dispatcher.aws.requests import Location
from dispatcher.errors import Denied

if TYPE_CHECKING:
    from tests.aws.conftest import Connect, Request, WireServer

AT = Location("bucket", "a/b.out")
HERE, THERE = "eu-west-1", "ap-south-1"


async def read(objects: Objects) -> object:
    async with objects.open(AT) as incoming:
        return await incoming.read()


CALLS: dict[str, tuple[Callable[[Objects], Awaitable[object]], object]] = {
    "get": (read, b"x"),
    "head": (lambda objects: objects.exists(AT), True),
    "put": (lambda objects: objects.put(AT, b"x" * 300_000, "text/plain"), None),
    "delete": (lambda objects: objects.delete(AT), None),
    "page": (lambda objects: objects.page(AT), {"k"}),
}
SAID = {
    "301": ("301 Moved Permanently", "PermanentRedirect", ""),
    "307": ("307 Temporary Redirect", "TemporaryRedirect", ""),
    "400": ("400 Bad Request", "AuthorizationHeaderMalformed", f"<Region>{THERE}</Region>"),
    "opt-in": ("400 Bad Request", "IllegalLocationConstraintException", ""),
}
each_call = pytest.mark.parametrize("name", CALLS)
each_way_to_say_it = pytest.mark.parametrize("said", SAID.values(), ids=SAID)


def region_of(request: Request) -> str:
    scope = re.search(r"Credential=[^/]+/\d+/([^/]+)/s3/", request.headers["authorization"])
    assert scope is not None
    return scope[1]


def of_the_object(wire: WireServer) -> list[str]:
    """Return the regions of the calls, without those that only look for the bucket."""
    ours = (r for r in wire.requests if "max-keys=0" not in r.target and r.target != "/bucket")
    return [region_of(r) for r in ours]


def moved(wire: WireServer, said: tuple[str, str, str], region: str | None) -> None:
    """Let the server response as S3 does for a bucket that is in the region ``THERE``."""
    status, code, detail = said
    named = "" if region is None else f"x-amz-bucket-region: {region}\r\n"

    def refused(body: bytes) -> bytes:
        return wire.response(status, body).replace(b"\r\n\r\n", f"\r\n{named}\r\n".encode(), 1)

    def response(request: Request) -> bytes:
        if region_of(request) == THERE:
            if request.method != "GET":
                return wire.response("200 OK")
            page = b"<ListBucketResult><Contents><Key>k</Key></Contents></ListBucketResult>"
            return wire.response("200 OK", page if "list-type" in request.target else b"x")
        if request.method == "HEAD":
            return refused(b"")
        body = f"<Error><Code>{code}</Code><Message>not here</Message>{detail}</Error>".encode()
        return refused(body)

    wire.responses = [response]


@each_call
@each_way_to_say_it
async def test_a_bucket_elsewhere_is_called_there(
    wire: WireServer, connect: Connect, name: str, said: tuple[str, str, str]
) -> None:
    moved(wire, said, THERE)
    call, result = CALLS[name]
    async with connect() as transport:
        assert await call(transport.objects) == result
        assert of_the_object(wire) == [HERE, THERE]
        wire.requests.clear()
        assert await call(transport.objects) == result
        assert of_the_object(wire) == [THERE], "it is known from then on"


@each_call
@each_way_to_say_it
async def test_many_redirected_calls_find_it_by_one_search(
    wire: WireServer, connect: Connect, name: str, said: tuple[str, str, str]
) -> None:
    moved(wire, said, THERE)
    call, result = CALLS[name]
    async with connect(connections=32) as transport:
        ends = await asyncio.gather(*(call(transport.objects) for _ in range(32)))
        assert ends == 32 * [result]
        regions = of_the_object(wire)
        assert regions.count(THERE) == 32
        assert regions.count(HERE) > 1, "they were not redirected at once"
        if transport.name == "direct":
            searches = [r for r in wire.requests if "max-keys=0" in r.target]
            assert [region_of(r) for r in searches] == [HERE, THERE]


@pytest.mark.parametrize("name", [name for name in CALLS if name != "head"])
async def test_the_region_may_be_named_in_the_body_only(
    wire: WireServer, connect: Connect, name: str
) -> None:
    moved(wire, SAID["400"], None)
    call, result = CALLS[name]
    async with connect() as transport:
        assert await call(transport.objects) == result
    assert of_the_object(wire) == [HERE, THERE]


@each_call
@each_way_to_say_it
async def test_a_bucket_that_is_nowhere_is_an_error(
    wire: WireServer, connect: Connect, name: str, said: tuple[str, str, str]
) -> None:
    """Nothing says where it is: the error stands. A HEAD without a reason is repeated as a GET."""
    moved(wire, (*said[:2], ""), None)
    call, _ = CALLS[name]
    async with connect() as transport:
        for calls in (1, 2):
            requests = 1
            if name == "head":
                assert await call(transport.objects) is None
                requests = 1 if said[0].startswith("3") else 2
            else:
                with pytest.raises(Denied) as raised:
                    await call(transport.objects)
                # aiobotocore fails in its search for the bucket, and has lost the code by then.
                code = said[1]
                assert raised.value.code in (code, "" if transport.name == "aioboto3" else code)
            assert of_the_object(wire) == calls * requests * [HERE]
