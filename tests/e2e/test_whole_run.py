"""The whole way over real HTTP: every route, framing, join and kind of completion."""

import importlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from dispatcher.aws.direct.runtime import DirectRuntime
from dispatcher.aws.requests import InvokeRequest, InvokeResponse
from dispatcher.aws.sdk.runtime import SdkRuntime
from dispatcher.emulator.sagemaker.endpoint import Endpoint
from dispatcher.emulator.sagemaker.invocation import AcceptedInvocation
from dispatcher.run import pipeline

MODELS = "containers:"


@pytest.fixture(autouse=True)
def _containers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


WayTo = Callable[..., Awaitable[Any]]


class Level:
    """A gauge: the number of things at once, and its peak."""

    def __init__(self) -> None:
        self.now = self.peak = 0

    def note(self, now: int) -> None:
        self.now, self.peak = now, max(self.peak, now)

    def __enter__(self) -> None:
        self.note(self.now + 1)

    def __exit__(self, *_: object) -> None:
        self.note(self.now - 1)


def records(count: int, size: int = 10) -> list[dict[str, Any]]:
    return [{"id": f"r{n}", "n": n, "text": "x" * size} for n in range(count)]


def by_key(lines: list[dict[str, Any]]) -> dict[Any, dict[str, Any]]:
    keys = [line["key"] for line in lines]
    assert len(keys) == len(set(keys)), "a record has more than one line"
    return dict(zip(keys, lines, strict=True))


@pytest.mark.parametrize("transport", ["direct", "aioboto3"])
async def test_every_record_has_its_own_output(
    way_to: WayTo, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    way = await way_to(verify_signatures=True)
    wanted = [*records(100), {"id": "large", "text": "y" * 300_000}]
    way.write(wanted)
    other = SdkRuntime if transport == "direct" else DirectRuntime
    monkeypatch.delattr(other, "invoke")
    ending = await way.run(aws={"transport": transport})
    assert (ending.signal, ending.outstanding) == (None, 0)
    assert by_key(way.results()) == {
        r["id"]: {"key": r["id"], "status": "completed", "output": r} for r in wanted
    }
    assert way.dead() == []
    assert way.meter.invocations == {"inline": 100, "s3": 1}
    assert way.meter.read == way.meter.completed == 101


@pytest.mark.parametrize("delivery", [True, False], ids=["raw", "wrapped"])
@pytest.mark.parametrize("body", [True, False], ids=["response-in-event", "output-object"])
async def test_events_in_every_form(way_to: WayTo, delivery: bool, body: bool) -> None:
    way = await way_to(raw_delivery=delivery, response_in_event=body)
    way.write(records(30))
    await way.run()
    assert len(by_key(way.results())) == 30
    assert way.meter.events["matched"] == 30


async def test_without_events_the_sweeper_completes_the_run(way_to: WayTo) -> None:
    way = await way_to(events=False)
    way.write(records(300))
    await way.run(completion={"sweep_after": "100ms"})
    assert len(by_key(way.results())) == 300
    assert way.meter.events.total() == 0
    assert way.meter.sweep_completions == 300
    assert way.meter.sweep_requests["list"] > 0


async def test_without_a_queue_the_sweeper_completes_the_run(way_to: WayTo) -> None:
    way = await way_to(model=MODELS + "poison")
    way.write([*records(3), {"id": "bad", "text": "poison"}])
    await way.run(
        completion={"queue_url": None, "sweep_after": "100ms"},
        retry={"outcomes": {"model_server_error": {"attempts": 2, "backoff": "10ms"}}},
    )
    assert by_key(way.results()).keys() == {"r0", "r1", "r2"}
    (dead,) = way.dead()
    # Only the event says whose fault it was; without one the failure is tried again.
    assert (dead["key"], dead["status"], dead["reason"]) == ("bad", "failed", "model_server_error")
    assert dead["attempts"] == 2
    assert "this record is poison" in dead["message"]


async def test_a_failing_record_is_a_dead_letter_with_its_input(way_to: WayTo) -> None:
    way = await way_to(model=MODELS + "poison")
    bad = {"id": "bad", "text": "poison"}
    way.write([*records(5), bad])
    await way.run()
    assert len(by_key(way.results())) == 5
    (dead,) = way.dead()
    assert dead["input"] == bad
    assert "Received client error (400) from model" in dead["message"]
    assert way.meter.dead_reasons == {"model_error": 1}


@pytest.mark.parametrize("framing", ["lines", "json-array"])
async def test_packed_records_get_their_own_answers(way_to: WayTo, framing: str) -> None:
    way = await way_to()
    wanted = records(1000, size=500)
    way.write(wanted)
    # No linger: how fast the file is read must not show in the number of payloads.
    await way.run(packing={"framing": framing, "max_records": 100, "linger": "1h"})
    assert {key: line["output"] for key, line in by_key(way.results()).items()} == {
        r["id"]: r for r in wanted
    }
    assert way.meter.invocations["inline"] == 10


async def test_answers_as_lines_are_split_by_their_content_type(way_to: WayTo) -> None:
    way = await way_to(model=MODELS + "doubled")
    way.write(records(50))
    await way.run(packing={"framing": "lines", "max_records": 7})
    outputs = {key: line["output"] for key, line in by_key(way.results()).items()}
    assert outputs == {f"r{n}": 2 * n for n in range(50)}


async def test_a_wrong_count_never_pairs_a_record_with_anothers_answer(way_to: WayTo) -> None:
    way = await way_to(model=MODELS + "one_short")
    way.write(records(6))
    await way.run(packing={"framing": "json-array", "max_records": 3})
    assert way.results() == []
    dead = by_key(way.dead())
    assert {line["reason"] for line in dead.values()} == {"count_mismatch"}
    assert {key: line["input"]["n"] for key, line in dead.items()} == {f"r{n}": n for n in range(6)}


@pytest.mark.parametrize("join", ["output", "input", "both"])
async def test_joins(way_to: WayTo, join: str) -> None:
    way = await way_to()
    wanted = [*records(3), {"id": "large", "n": 3, "text": "y" * 200_000}]
    way.write(wanted)
    await way.run(sink={"join": join, "meta": True})
    for record in wanted:
        line = by_key(way.results())[record["id"]]
        assert line.get("output") == (None if join == "input" else record)
        assert line.get("input") == (None if join == "output" else record)
        assert line["meta"]["invocation_id"]
        assert line["meta"]["route"] == ("s3" if record["id"] == "large" else "inline")


async def test_an_output_that_is_not_json_is_not_guessed_at(way_to: WayTo) -> None:
    way = await way_to(model=MODELS + "not_json")
    way.write(records(1))
    await way.run()
    assert way.results()[0]["output"] == {
        "base64": "iVBORyBub3QganNvbg==",
        "content_type": "image/png",
    }


async def test_throttling_is_waited_out(way_to: WayTo) -> None:
    way = await way_to(faults={"throttle": 0.3})
    way.write(records(100))
    await way.run(retry={"base": "1ms"})
    assert len(by_key(way.results())) == 100
    assert way.meter.calls["throttled"] > 10
    assert way.meter.calls["accepted"] == 100


async def test_input_that_is_no_record_is_a_dead_letter_and_the_rest_goes_on(
    way_to: WayTo,
) -> None:
    way = await way_to()
    lines = [b'{"id": "a"}', b"", b"{broken", b'{"id": "\xff"}', b'{"no": "key"}', b'{"id": "z"}']
    (way.folder / "in.jsonl").write_bytes(b"\n".join(lines))  # the last one without newline
    await way.run()
    assert by_key(way.results()).keys() == {"a", "z"}
    assert [line["reason"] for line in way.dead()] == ["bad_json", "bad_utf8", "missing_key"]
    assert "line 3" in way.dead()[0]["message"]
    assert way.meter.read == 5


async def test_a_large_record_without_a_bucket_says_what_to_set(way_to: WayTo) -> None:
    way = await way_to()
    way.write([{"id": "large", "text": "y" * 200_000}, {"id": "small"}])
    await way.run(staging={"bucket": None})
    assert by_key(way.results()).keys() == {"small"}
    (dead,) = way.dead()
    assert dead["reason"] == "no_staging"
    assert "staging.bucket" in dead["message"]
    assert dead["input"]["id"] == "large"


async def test_lines_that_were_added_after_the_end_are_a_new_part_of_the_run(
    way_to: WayTo,
) -> None:
    way = await way_to()
    wanted = records(12)
    way.write(wanted[:5])
    await way.run()
    before = (way.folder / "results.jsonl").read_bytes()
    with (way.folder / "in.jsonl").open("a") as source:
        source.writelines(json.dumps(record) + "\n" for record in wanted[5:])
    await way.run()
    assert way.meter.invocations == {"inline": 7}
    assert way.emulator.endpoint("emulated").accepted == 12
    assert way.meter.read == way.meter.completed == 12
    assert (way.folder / "results.jsonl").read_bytes().startswith(before)
    assert {key: line["output"] for key, line in by_key(way.results()).items()} == {
        r["id"]: r for r in wanted
    }


async def test_two_records_may_share_a_key(way_to: WayTo) -> None:
    way = await way_to()
    way.write([{"id": 1, "n": 1}, {"id": 1, "n": 2}])
    await way.run()
    assert sorted(line["output"]["n"] for line in way.results()) == [1, 2]


@pytest.mark.parametrize(("concurrency", "outstanding"), [(2, 12), (7, 3)])
async def test_outstanding_and_concurrency_are_two_limits(
    way_to: WayTo, monkeypatch: pytest.MonkeyPatch, concurrency: int, outstanding: int
) -> None:
    way = await way_to(model=MODELS + "gated")
    way.write(records(60))
    gate = importlib.import_module("containers").Gate()
    monkeypatch.setattr("containers.gate", gate)
    endpoint = way.emulator.endpoint("emulated")
    on_wire, in_service, full = Level(), Level(), anyio.Event()
    invoke, offer = DirectRuntime.invoke, Endpoint.offer

    async def watched_invoke(self: DirectRuntime, request: InvokeRequest) -> InvokeResponse:
        with on_wire:
            return await invoke(self, request)

    def watched_offer(self: Endpoint, invocation: AcceptedInvocation) -> None:
        offer(self, invocation)
        in_service.note(self.accepted - self.completed)
        if self.accepted == outstanding:
            full.set()

    monkeypatch.setattr(DirectRuntime, "invoke", watched_invoke)
    monkeypatch.setattr(Endpoint, "offer", watched_offer)

    async with anyio.create_task_group() as group:
        limits = {"concurrency": concurrency, "outstanding": outstanding}
        group.start_soon(lambda: way.run(limits=limits))
        with anyio.fail_after(20):
            await full.wait()
        await anyio.sleep(0.2)  # no call has a response, so nothing more may come
        assert endpoint.accepted == outstanding
        gate.opened.set()
    assert len(by_key(way.results())) == 60
    assert in_service.peak == outstanding
    assert on_wire.peak == min(concurrency, outstanding)


async def test_environment_alone_leads_to_the_emulator(
    way_to: WayTo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but AWS_ENDPOINT_URL and credentials: no region, no access object."""
    way = await way_to()
    way.write(records(3))
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(way.folder / "none"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", way.emulator.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    await pipeline.run(way.config(), meter=way.meter)
    assert len(way.results()) == 3
