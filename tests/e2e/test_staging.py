"""Payloads that do not fit inline, all the way: kept as asked for, each content once, and gone."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dispatcher import failpoints
from dispatcher.aws.session import open_clients

WayTo = Callable[..., Awaitable[Any]]

LARGE = 200_000
KEPT = {"encryption": "aws:kms", "kms_key": "k", "tags": {"team": "a b"}, "delete": "never"}


def records(count: int) -> list[dict[str, Any]]:
    return [{"id": f"r{n}", "text": f"{n}" * LARGE} for n in range(count)]


def complete(way: Any, wanted: list[dict[str, Any]]) -> bool:
    found = {line["key"]: line["output"] for line in way.results()}
    return found == {record["id"]: record for record in wanted} and not way.dead()


async def test_nothing_is_left(way_to: WayTo) -> None:
    way = await way_to()
    way.write(records(5))
    await way.run()
    assert complete(way, records(5))
    assert way.meter.staged == {"uploaded": 5, "deleted": 5}
    assert not way.emulator.objects(way.emulator.input_bucket)


async def test_objects_are_kept_as_asked_for(way_to: WayTo) -> None:
    way = await way_to()
    way.write(records(3))
    await way.run(staging=KEPT)
    assert complete(way, records(3))
    bucket = way.emulator.input_bucket
    keys = list(way.emulator.objects(bucket))
    assert len(keys) == 3
    async with open_clients(way.config().aws, connections=1, access=way.access) as clients:
        for key in keys:
            assert re.fullmatch(f"staged/[0-9a-f]{{2}}/{way.tag()}/[0-9a-f]{{64}}", key)
            head = await clients.s3.head_object(Bucket=bucket, Key=key)
            assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "k")
            assert head["ContentType"] == "application/json"
            tags = await clients.s3.get_object_tagging(Bucket=bucket, Key=key)
            assert tags["TagSet"] == [{"Key": "team", "Value": "a b"}]


async def test_the_same_content_is_one_object(way_to: WayTo) -> None:
    way = await way_to()
    way.write([{"text": "same" * LARGE}] * 8)
    await way.run(source={"key": None}, staging={"delete": "never"})
    assert len(way.results()) == 8
    assert len(way.emulator.objects(way.emulator.input_bucket)) == 1
    assert way.meter.staged == {"uploaded": 1, "shared": 7}


async def test_a_large_record_goes_in_parts(way_to: WayTo) -> None:
    way = await way_to(model="tests.e2e.containers:length")
    way.write([{"id": "large", "text": "l" * 20_000_000}])
    await way.run(source={"max_record": 30_000_000}, staging=KEPT)
    assert [line["output"] for line in way.results()] == [20_000_027]
    ((key, body),) = way.emulator.objects(way.emulator.input_bucket).items()
    assert body.endswith(b'llll"}')
    async with open_clients(way.config().aws, connections=1, access=way.access) as clients:
        head = await clients.s3.head_object(
            Bucket=way.emulator.input_bucket, Key=key, ChecksumMode="ENABLED"
        )
    assert head["ETag"].endswith('-2"')
    assert head["ChecksumCRC32"].endswith("-2")
    assert head["SSEKMSKeyId"] == "k"


class Died(BaseException):
    """Stands for a killed process."""


@pytest.mark.parametrize("visit", [1, 3])
@pytest.mark.parametrize(
    "moment", ["dispatch.staging", "dispatch.staged", "ledger.committed", "dispatch.deleting"]
)
async def test_whatever_dies_nothing_is_left(way_to: WayTo, moment: str, visit: int) -> None:
    way = await way_to()
    way.write(records(6))
    left = visit

    def die(reached: str) -> None:
        nonlocal left
        left -= reached == moment
        if reached == moment and left <= 0:  # and nothing it would write any more counts
            raise Died

    failpoints.hooks.append(die)
    try:
        with pytest.raises(BaseException):  # noqa: B017 - Died, in groups of task groups
            await way.run(limits={"outstanding": 3})
    finally:
        failpoints.hooks.remove(die)
    await way.run(limits={"outstanding": 3})
    assert complete(way, records(6))
    assert not way.emulator.objects(way.emulator.input_bucket)
