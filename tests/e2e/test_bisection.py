"""A bad record in a full request: all others complete, and it alone is dead, over real HTTP."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dispatcher.cli.main import program
from dispatcher.ledger.check.status import read_status
from tests.faults.containers import POISONS

Json = dict[str, Any]
WayTo = Callable[..., Awaitable[Any]]

MODEL = "tests.faults.containers:poisoned"
PACKED = {"framing": "lines", "max_records": 50, "linger": "1h"}
ONCE = {"outcomes": {"model_server_error": {"attempts": 1}}}


def records(count: int, bad: dict[int, str]) -> list[Json]:
    return [
        {"id": f"r{n}", "n": n, **({"poison": bad[n]} if n in bad else {})} for n in range(count)
    ]


@pytest.mark.parametrize("encoding", ["json", "json+gzip", "json+zstd"])
@pytest.mark.parametrize("in_event", [True, False], ids=["in-event", "in-object"])
async def test_every_kind_of_bad_record_ends_alone(
    way_to: WayTo, encoding: str, in_event: bool
) -> None:
    way = await way_to(model=MODEL, response_in_event=in_event)
    bad = dict(zip((3, 4, 60, 111), POISONS, strict=True))
    wanted = records(150, bad)
    way.write(wanted)
    await way.run(packing={**PACKED, "encodings": [encoding]}, retry=ONCE)
    assert sorted(line["output"]["n"] for line in way.results()) == [
        n for n in range(150) if n not in bad
    ]
    assert all(line["key"] == line["output"]["id"] for line in way.results())
    dead = {line["input"]["n"]: line for line in way.dead()}
    assert {n: line["reason"] for n, line in dead.items()} == {
        n: POISONS[poison] for n, poison in bad.items()
    }
    assert dead[3]["message"].endswith("; r3 is refused")
    assert dead[4]["message"].endswith("; r4 breaks the container")
    assert {line["attempts"] for line in dead.values()} <= {4, 5}
    assert way.meter.parts <= 12 * len(bad)
    assert way.emulator.endpoint("emulated").accepted == 3 + way.meter.parts
    status = read_status(way.folder / "ledger.db")
    assert (status.split, status.parts) == (way.meter.split, way.meter.parts)


async def test_a_container_that_takes_one_record_at_a_time_loses_none(way_to: WayTo) -> None:
    way = await way_to(model="tests.faults.containers:alone")
    way.write(records(40, {}))
    await way.run(packing={**PACKED, "max_records": 10})
    assert len(way.results()) == 40
    assert way.dead() == []
    assert way.meter.parts > 40


async def test_with_the_budget_at_0_neighbours_share_the_fate_and_the_message_says_why(
    way_to: WayTo,
) -> None:
    way = await way_to(model=MODEL)
    way.write(records(100, {7: "refused"}))
    await way.run(packing=PACKED, retry={"bisection": 0})
    assert len(way.results()) == 50
    assert len(way.dead()) == 50
    for line in way.dead():
        assert line["reason"] == "model_error"
        assert line["message"].endswith(
            "; r7 is refused; this invocation of 50 records was not split, as retry.bisection is 0"
        )


async def test_the_budget_bounds_what_a_broken_container_costs(
    way_to: WayTo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dispatcher.retry.invocations.FREE_PARTS", 20)
    way = await way_to(model=MODEL)
    way.write(records(400, dict.fromkeys(range(400), "refused")))
    await way.run(packing=PACKED, retry={"bisection": 0.1})
    assert way.results() == []
    assert len(way.dead()) == 400
    assert way.meter.parts <= 20 + 40
    messages = [line["message"] for line in way.dead() if "split" in line["message"]]
    assert len(messages) > 300
    assert all("the share in retry.bisection, 0.1, is used up; raise it" in m for m in messages)


async def test_answers_that_are_too_large_only_together_are_read_in_parts(way_to: WayTo) -> None:
    way = await way_to(model="tests.faults.containers:swollen")
    wanted = [{"id": f"r{n}", "n": n, "swell": 20_000 if n == 31 else 1_000} for n in range(100)]
    way.write(wanted)
    await way.run(packing=PACKED, completion={"max_output": "10kB"})
    assert sorted(line["output"]["n"] for line in way.results()) == [
        n for n in range(100) if n != 31
    ]
    (dead,) = way.dead()
    assert (dead["key"], dead["reason"]) == ("r31", "output_too_large")
    assert "20,0" in dead["message"], "in its own words"


async def test_parcels_shrink_where_bad_records_are_common(way_to: WayTo) -> None:
    way = await way_to(model=MODEL)
    bad = dict.fromkeys(range(0, 3_000, 40), "refused")
    way.write(records(3_000, bad))
    await way.run(
        packing={**PACKED, "max_records": 200},
        limits={"outstanding": 4},
        retry={"bisection": 1},
    )
    assert len(way.dead()) == len(bad)
    assert len(way.results()) == 3_000 - len(bad)
    assert way.meter.invocations["inline"] > 2 * 3_000 / 200


async def test_splits_are_shown_in_status_and_summary(way_to: WayTo, tmp_path: Path) -> None:
    way = await way_to(model=MODEL)
    way.write(records(20, {7: "refused"}))
    await way.run(packing=PACKED)
    config = tmp_path / "run.yaml"
    config.write_text(json.dumps(way.config(packing=PACKED).model_dump(mode="json")))
    shown = CliRunner().invoke(program, ["status", str(config)])
    assert shown.exit_code == 0, shown.output
    assert f"split         {way.meter.split} failed, into {way.meter.parts} " in shown.output
