"""Outputs that the service names: what is known of them is what the 202 said."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

WayTo = Callable[..., Awaitable[Any]]
SERVICE = {"output_naming": "service"}


@pytest.mark.parametrize("events", [True, False], ids=["by event", "by look"])
@pytest.mark.parametrize("transport", ["direct", "aioboto3"])
async def test_outputs_with_names_of_the_service(
    way_to: WayTo, events: bool, transport: str
) -> None:
    way = await way_to(events=events)
    wanted = [{"id": f"r{n}", "n": n} for n in range(40)]
    way.write(wanted)
    await way.run(
        request=SERVICE, completion={"sweep_after": "100ms"}, aws={"transport": transport}
    )
    results = {line["key"]: line["output"] for line in way.results()}
    assert results == {r["id"]: r for r in wanted}
    names = list(way.emulator.objects("emulator-output"))
    assert len(names) == 40
    assert not any(way.tag() in name for name in names)


async def test_names_that_we_chose_contain_the_run(way_to: WayTo) -> None:
    way = await way_to()
    way.write([{"id": "a"}])
    await way.run()
    (name,) = way.emulator.objects("emulator-output")
    assert way.tag() in name
