"""Places of inputs, and outputs without events."""

from typing import Any

import pytest

from dispatcher.emulator.sagemaker.delivery import split_location
from tests.emulator.calls import invoke, messages, running


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("s3://b/dir/k?x#y%20", ("b", "dir/k?x#y%20")),
        ("s3://b", ("b", "")),
        ("https://b.s3.us-east-1.amazonaws.com/dir/a%20b", ("b", "dir/a b")),
        ("https://my.dotted.s3.amazonaws.com/k", ("my.dotted", "k")),
        ("https://s3.us-east-1.amazonaws.com/b/dir/k", ("b", "dir/k")),
    ],
)
def test_location_is_split(location: str, place: tuple[str, str]) -> None:
    assert split_location(location) == place


async def test_without_events_there_is_only_the_output(connect: Any) -> None:
    async with running(events=False) as emulator:
        wire = await connect(emulator.url)
        await invoke(wire, b"abc", Filename="a.out")
        await emulator.idle()
        assert emulator.objects("emulator-output")["emulated/output/a.out"] == b"abc"
        assert await messages(emulator, wire) == []
