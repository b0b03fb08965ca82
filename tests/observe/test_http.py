"""Monitors see the run, and a port that cannot be opened is a clear error."""

import socket
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from dispatcher.config.settings import ObserveSettings
from dispatcher.errors import ConfigError
from dispatcher.observe.http import serve
from dispatcher.observe.meter import FixedLevels, Meter


@pytest.fixture
def meter() -> Meter:
    meter = Meter(phase="running", read=10, completed=7, dead=1, levels=FixedLevels(outstanding=2))
    meter.dead_reasons["bad_json"] = 1
    meter.calls.update(accepted=9, throttled=4)
    meter.call_latency.add(0.02)
    meter.call_latency.add(3.0)
    return meter


@pytest.fixture
async def client(meter: Meter) -> AsyncIterator[aiohttp.ClientSession]:
    async with (
        serve(ObserveSettings(port=0), meter) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        yield session


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


async def test_metrics(client: aiohttp.ClientSession, meter: Meter) -> None:
    response = await client.get("/metrics")
    assert response.status == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    families = {
        family.name: family for family in text_string_to_metric_families(await response.text())
    }
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert samples["dispatcher_records_read_total",] == 10
    assert samples["dispatcher_records_dead_total", "bad_json"] == 1
    assert samples["dispatcher_calls_total", "throttled"] == 4
    assert samples["dispatcher_invocations_outstanding",] == 2
    assert samples["dispatcher_phase", "running"] == 1
    assert samples["dispatcher_phase", "ended"] == 0
    assert samples["dispatcher_call_seconds_bucket", "0.01"] == 0
    assert samples["dispatcher_call_seconds_bucket", "0.05"] == 1
    assert samples["dispatcher_call_seconds_bucket", "+Inf"] == 2
    assert samples["dispatcher_call_seconds_count",] == 2
    assert samples["dispatcher_call_seconds_sum",] == pytest.approx(3.02)
    assert all(family.documentation for family in families.values())

    meter.read = 11
    assert "dispatcher_records_read_total 11.0" in await (await client.get("/metrics")).text()


async def test_what_was_split(client: aiohttp.ClientSession, meter: Meter) -> None:
    meter.split, meter.parts = 5, 15
    text = await (await client.get("/metrics")).text()
    assert "dispatcher_invocations_split_total 5.0" in text
    assert "dispatcher_split_parts_total 15.0" in text
    shown = await (await client.get("/status.json")).json()
    assert (shown["split"], shown["parts"]) == (5, 15)


async def test_live(client: aiohttp.ClientSession) -> None:
    assert (await client.get("/live")).status == 200


@pytest.mark.parametrize(
    ("phase", "status"), [("starting", 503), ("running", 200), ("draining", 200), ("ended", 503)]
)
async def test_ready(client: aiohttp.ClientSession, meter: Meter, phase: str, status: int) -> None:
    meter.phase = phase  # type: ignore[assignment]
    response = await client.get("/ready")
    assert response.status == status
    assert phase in await response.text()


async def test_status(client: aiohttp.ClientSession) -> None:
    shown = await (await client.get("/status.json")).json()
    assert shown["phase"] == "running"
    assert shown["completed"] == 7
    assert shown["dead_reasons"] == {"bad_json": 1}
    assert shown["calls"] == {"accepted": 9, "throttled": 4}


async def test_unknown_pages_are_404(client: aiohttp.ClientSession) -> None:
    assert (await client.get("/")).status == 404


async def test_without_a_port_nothing_is_opened(meter: Meter) -> None:
    async with serve(ObserveSettings(), meter) as port:
        assert port is None


async def test_the_port_is_free_again_afterwards(meter: Meter) -> None:
    async with serve(ObserveSettings(port=0), meter) as port:
        assert port
    async with serve(ObserveSettings(port=port), meter) as again:
        assert again == port


async def test_a_port_in_use(meter: Meter, taken: int) -> None:
    with pytest.raises(ConfigError) as caught:
        async with serve(ObserveSettings(port=taken), meter):
            pass
    assert str(caught.value) == (
        f"observe: port {taken} on 127.0.0.1 is in use by another process; set observe.port to a "
        "free one, to 0 for any, or remove it to open none"
    )


async def test_a_host_of_another_machine(meter: Meter) -> None:
    with pytest.raises(ConfigError, match=r"observe\.host must be an address of this machine"):
        async with serve(ObserveSettings(port=0, host="192.0.2.1"), meter):
            pass


async def test_two_runs_in_one_process_do_not_collide(meter: Meter) -> None:
    async with (
        serve(ObserveSettings(port=0), meter) as one,
        serve(ObserveSettings(port=0), Meter()) as two,
    ):
        assert one != two
