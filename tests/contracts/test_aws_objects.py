"""Objects: both transports and the double do the same, and report the same errors."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

import anyio
import pytest

from dispatcher.aws.objects import Objects
from dispatcher.aws.requests import PLAIN, Location, PutOptions, tagging_of
from dispatcher.aws.transport import Transport
from dispatcher.errors import Denied, NotThere, Rejected, Transient
from tests.contracts.conftest import S3, ObjectCalls, Place, verdict
from tests.doubles import FakeObjects

TEXT = "text/plain"
KEYS = [
    "plain",
    "with blanks  two",
    " blanks around ",
    "a+b",
    "100%",
    "%41%2F%2e",
    "a//b",
    "ends/",
    "ends//",
    "./here",
    "a/./b",
    "../above",
    "a/../b",
    "...",
    "schön/日本語/🙂",
    "e\u0301 is not é",
    "~home/~",
    'it\'s "quoted"',
    "(a)[b]{c}",
    "a&b=c;d?e#f",
    "!$*,:@^`|<>\\",
    "/leading",
    "//twice",
    "a\tb",
    "k" * 1024,
]
MANY = 1_100


async def read(objects: ObjectCalls, at: Location) -> tuple[bytes, str | None]:
    async with objects.open(at) as incoming:
        body = await incoming.read()
        assert incoming.size == len(body)
        return body, incoming.content_type


async def test_any_key(s3: S3) -> None:
    """All at once, so that one which is taken for another shows."""
    objects, bucket = s3.objects, s3.bucket
    for key in KEYS:
        assert await objects.exists(Location(bucket, key)) is False, key
        await objects.put(Location(bucket, key), key.encode(), TEXT)
        assert await objects.exists(Location(bucket, key)) is True, key
    assert await objects.page(Location(bucket, "")) == set(KEYS)
    for key in KEYS:
        assert await read(objects, Location(bucket, key)) == (key.encode(), TEXT)
        alike = {other for other in KEYS if other.startswith(key)}
        assert await objects.page(Location(bucket, key)) == alike
        # It is the same object to the other client.
        assert await s3.body_of(key) == key.encode()
    for key in KEYS:
        await objects.delete(Location(bucket, key))
        assert await objects.exists(Location(bucket, key)) is False, key
    assert await objects.page(Location(bucket, "")) == set()


async def test_any_size(s3: S3) -> None:
    objects, at = s3.objects, Location(s3.bucket, "large")
    for size in (0, 1, 70_000, 999_999, 1_000_000, 10_000_000):
        body = hashlib.shake_128(b"any").digest(size)
        await objects.put(at, body, TEXT)
        assert await read(objects, at) == (body, TEXT)
        async with objects.open(at) as incoming:
            assert incoming.size == size  # and never read
    await objects.put(at, b"other", TEXT)
    assert await read(objects, at) == (b"other", TEXT)


async def test_any_content_type(s3: S3) -> None:
    at = Location(s3.bucket, "typed")
    for content_type in (
        "application/json",
        "application/jsonlines; encoding=gzip",
        'text/csv; charset="utf-8"; header=present',
        "x/y",
    ):
        await s3.objects.put(at, b"x", content_type)
        assert await read(s3.objects, at) == (b"x", content_type)


KMS_KEY = "arn:aws:kms:us-east-1:123456789012:key/1234abcd"


@pytest.mark.parametrize(
    "options",
    [
        PutOptions("AES256"),
        PutOptions("aws:kms", KMS_KEY),
        PutOptions("aws:kms"),
        PutOptions(tagging=tagging_of({"team": "search +/=", "a b": "ä"})),
        PutOptions("aws:kms", KMS_KEY, "cost=1"),
    ],
    ids=["AES256", "kms", "default key", "tags", "all"],
)
async def test_how_an_object_is_kept(
    transport: Transport, bucket: str, options: PutOptions
) -> None:
    """The same whether it is written at once or in parts."""
    objects, s3 = transport.objects, transport.clients.s3
    tags = dict(parse_qsl(options.tagging or ""))
    await objects.put(Location(bucket, "once"), b"x", TEXT, options)
    upload = await objects.upload(Location(bucket, "parts"), TEXT, options)
    await upload.part(1, b"x")
    await upload.complete()
    for key in ("once", "parts"):
        head = await s3.head_object(Bucket=bucket, Key=key)
        assert head.get("ServerSideEncryption") == options.encryption
        if options.kms_key is not None:
            assert head["SSEKMSKeyId"] == options.kms_key
        found = await s3.get_object_tagging(Bucket=bucket, Key=key)
        assert {tag["Key"]: tag["Value"] for tag in found["TagSet"]} == tags
        assert await read(objects, Location(bucket, key)) == (b"x", TEXT)


async def test_an_object_in_parts(s3: S3) -> None:
    objects, at = s3.objects, Location(s3.bucket, "in/parts ä")
    parts = [hashlib.shake_128(b"%d" % n).digest(5 << 20) for n in (1, 2)] + [b"the end"]
    upload = await objects.upload(at, TEXT, PLAIN)
    await asyncio.gather(*(upload.part(n, parts[n - 1]) for n in (3, 1, 2)))
    assert await objects.exists(at) is False
    await upload.part(3, b"the very end")
    await upload.complete()
    assert await read(objects, at) == (b"".join(parts[:2]) + b"the very end", TEXT)
    assert await objects.size(at) == (10 << 20) + 12
    await upload.abort()  # harmless
    assert await objects.exists(at) is True


async def test_an_upload_that_is_aborted(s3: S3) -> None:
    objects, bucket = s3.objects, s3.bucket
    at = Location(bucket, "aborted")
    others = await objects.upload(Location(bucket, "aborted too"), TEXT, PLAIN)
    for _ in range(2):
        upload = await objects.upload(at, TEXT, PLAIN)
        await upload.part(1, b"x")
    await objects.abort_uploads(at)
    assert issubclass((await verdict(upload.complete()))[0], Transient)  # it may be begun again
    await upload.abort()
    assert await s3.uploads() == ["aborted too"]
    await others.abort()
    assert await objects.exists(at) is False


async def test_the_size_of_an_object(s3: S3) -> None:
    at = Location(s3.bucket, "sized")
    assert (await verdict(s3.objects.size(at)))[0] is NotThere
    for size in (0, 1, 70_000):
        await s3.objects.put(at, bytes(size), TEXT)
        assert await s3.objects.size(at) == size


async def test_an_object_that_is_not_there(s3: S3) -> None:
    objects, at = s3.objects, Location(s3.bucket, "absent")
    assert await objects.exists(at) is False
    assert await verdict(read(objects, at)) == (NotThere, "NoSuchKey")
    await objects.delete(at)


@pytest.mark.parametrize(
    "call",
    [
        lambda objects, at: objects.put(at, b"x", TEXT),
        lambda objects, at: objects.get(at),
        lambda objects, at: objects.page(at),
        lambda objects, at: objects.delete(at),
    ],
    ids=["put", "get", "page", "delete"],
)
async def test_a_bucket_that_is_not_there(
    transport: Transport, call: Callable[[Objects, Location], Awaitable[object]]
) -> None:
    at = Location("there-is-no-such-bucket", "key")
    assert await verdict(call(transport.objects, at)) == (Denied, "")
    # The answer to a HEAD has no words: it is the object that is missing, for all one can see.
    assert await transport.objects.exists(at) is False


async def test_a_key_that_is_too_long(boxed: Place, transport_name: str) -> None:
    """moto would store it."""
    at = Location("emulator-input", "k" * 1025)
    async with boxed.connect(transport_name) as transport:
        assert await verdict(transport.objects.put(at, b"x", TEXT)) == (Rejected, "KeyTooLongError")


async def test_a_page_by_prefix(s3: S3) -> None:
    for key in ("a b/1", "a+b/2", "a%20b/3", "a&b/4", "ä/5"):
        await s3.objects.put(Location(s3.bucket, key), b"", TEXT)
    for prefix, found in {
        "": {"a b/1", "a+b/2", "a%20b/3", "a&b/4", "ä/5"},
        "a b": {"a b/1"},
        "a+b": {"a+b/2"},
        "a%20b/": {"a%20b/3"},
        "a&": {"a&b/4"},
        "ä": {"ä/5"},
        "a": {"a b/1", "a+b/2", "a%20b/3", "a&b/4"},
        "b": set(),
    }.items():
        assert await s3.objects.page(Location(s3.bucket, prefix)) == found


async def test_a_page_is_the_first_thousand(place: Place, transport: Transport) -> None:
    """In one bucket for both transports: moto takes seconds to fill it."""
    bucket, keys = "contract-many", [f"many/ä {n:04}" for n in range(MANY)]
    await transport.clients.s3.create_bucket(Bucket=bucket)

    async def fill(some: list[str]) -> None:
        for key in some:
            await transport.objects.put(Location(bucket, key), b"", TEXT)

    if not await transport.objects.exists(Location(bucket, keys[-1])):
        async with anyio.create_task_group() as group:
            for start in range(8):
                group.start_soon(fill, keys[start::8])
    assert await transport.objects.page(Location(bucket, "many/")) == set(keys[:1_000])
    assert await transport.objects.page(Location(bucket, "many/ä 10")) == set(keys[1_000:])


async def test_a_page_of_the_double_is_the_first_thousand() -> None:
    double, keys = FakeObjects(), [f"many/ä {n:04}" for n in range(MANY)]
    for key in keys:
        await double.put(Location("contract", key), b"", TEXT)
    assert await double.page(Location("contract", "many/")) == set(keys[:1_000])
    assert await double.page(Location("contract", "many/ä 10")) == set(keys[1_000:])


async def test_the_double_that_may_not_look_says_nothing() -> None:
    double, at = FakeObjects(is_visible=False), Location("contract", "key")
    assert (await double.exists(at), await double.size(at)) == (None, None)
    await double.put(at, b"x", TEXT)
    assert (await double.exists(at), await double.size(at)) == (None, None)


async def test_who_may_do_nothing(boxed: Place, transport_name: str) -> None:
    """Nothing was seen yet, so that a refusal is not taken for a missing object."""
    at = Location("emulator-input", "key")
    async with boxed.connect(transport_name, key_id="denied") as transport:
        objects = transport.objects
        assert await objects.exists(at) is None
        for call in (
            objects.get(at),
            objects.put(at, b"x", TEXT),
            objects.page(at),
            objects.delete(at),
        ):
            assert await verdict(call) == (Denied, "AccessDenied")


async def test_who_is_not_known(boxed: Place, transport_name: str) -> None:
    at = Location("emulator-input", "key")
    async with boxed.connect(transport_name, key_id="nobody") as transport:
        assert await verdict(transport.objects.get(at)) == (Denied, "InvalidAccessKeyId")


async def test_a_bucket_of_another_region(boxed: Place, transport_name: str) -> None:
    """The emulator, which is in us-east-1, names its region to one who signs for another."""
    at = Location("emulator-input", "key")
    async with boxed.connect(transport_name, region="eu-west-1") as transport:
        await transport.objects.put(at, b"x", TEXT)
        assert await read(transport.objects, at) == (b"x", TEXT)


async def test_many_calls_at_once_to_a_bucket_of_another_region(
    boxed: Place, transport_name: str
) -> None:
    places = [Location("emulator-input", f"key-{number}") for number in range(32)]
    async with boxed.connect(transport_name, region="eu-west-1") as transport:
        objects = transport.objects
        await asyncio.gather(*(objects.put(at, at.key.encode(), TEXT) for at in places))
    async with boxed.connect(transport_name, region="eu-west-1") as transport:
        got = await asyncio.gather(*(read(transport.objects, at) for at in places))
    assert got == [(at.key.encode(), TEXT) for at in places]


@asynccontextmanager
async def tampering(url: str) -> AsyncIterator[str]:
    """Relay to a server, and change one word of what goes there."""
    host, port = url.removeprefix("http://").split(":")

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 20):
            writer.write(data.replace(b"integrity", b"iniquity!"))
            await writer.drain()
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(host, int(port))
        async with asyncio.TaskGroup() as both:
            both.create_task(pump(reader, there[1]))
            both.create_task(pump(there[0], writer))

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("size", [0, 2_000_000], ids=["small", "large"])
async def test_what_was_changed_on_its_way_is_sent_again(
    boxed: Place, transport_name: str, size: int
) -> None:
    """moto would store it."""
    at = Location("emulator-input", "key")
    async with (
        tampering(boxed.access.endpoint_url) as url,
        boxed.connect(transport_name, url=url) as transport,
    ):
        body = b"integrity" + bytes(size)
        sent = verdict(transport.objects.put(at, body, TEXT))
        assert await sent == (Transient, "XAmzContentSHA256Mismatch")
        assert await transport.objects.exists(at) is False
        await transport.objects.put(at, b"anything else", TEXT)
        assert await transport.objects.exists(at) is True
