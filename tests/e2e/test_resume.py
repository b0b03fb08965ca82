"""The next process of a run goes on after one that was stopped or mistaken."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from dispatcher.aws.direct.runtime import DirectRuntime
from dispatcher.aws.requests import InvokeRequest, InvokeResponse
from dispatcher.cli.exit_codes import root_cause
from dispatcher.errors import ConfigError, Rejected, RunStopped, ServiceFailed, StateError
from dispatcher.run import pipeline

WayTo = Callable[..., Awaitable[Any]]


def records(count: int) -> list[dict[str, Any]]:
    return [{"id": f"r{n}", "n": n} for n in range(count)]


async def stopped(way: Any, **sections: Any) -> BaseException:
    """Run, and return the error that stopped it."""
    with anyio.fail_after(30):
        try:
            await way.run(**sections)
        except BaseException as error:
            return root_cause(error)
    raise AssertionError("nothing stopped the run")


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception | None], None]:
    """Let every invocation fail in the same way, or none."""
    real = DirectRuntime.invoke

    def arrange(error: Exception | None) -> None:
        async def invoke(self: DirectRuntime, request: InvokeRequest) -> InvokeResponse:
            if error is None:
                return await real(self, request)
            raise error

        monkeypatch.setattr(DirectRuntime, "invoke", invoke)

    return arrange


async def test_a_file_of_another_run_is_never_cut_back(way_to: WayTo) -> None:
    way = await way_to()
    way.write(records(3))
    await way.run()
    theirs = way.folder / "dead.jsonl"  # this run wrote nothing there, and another one does
    theirs.write_text('{"key": "theirs"}\n')
    assert isinstance(await stopped(way), StateError)
    assert theirs.read_text() == '{"key": "theirs"}\n'


async def test_two_result_files_in_turn_by_force(way_to: WayTo) -> None:
    way = await way_to()
    way.write(records(2))
    await way.run()
    config = {"sink": {"path": str(way.folder / "b.jsonl")}}
    access, meter = way.access, way.meter
    way.write(records(3))
    await pipeline.run(way.config(**config), meter=meter, access=access, force=True)
    way.write(records(4))
    await pipeline.run(way.config(), meter=meter, access=access, force=True)
    assert [line["key"] for line in way.results()] == ["r0", "r1", "r3"]
    assert json.loads((way.folder / "b.jsonl").read_text())["key"] == "r2"


@pytest.mark.parametrize("outstanding", [5, 2000])
async def test_refusals_of_all_never_become_dead_letters_in_any_process(
    way_to: WayTo, answer: Callable[[Exception | None], None], outstanding: int
) -> None:
    way = await way_to()
    (way.folder / "in.jsonl").write_text(
        "not json\n" + "".join(json.dumps(record) + "\n" for record in records(40))
    )
    answer(Rejected("ValidationError: not an asynchronous endpoint", code="ValidationError"))
    for _ in range(2):
        error = await stopped(way, limits={"outstanding": outstanding})
        assert isinstance(error, RunStopped)
        assert "none was accepted" in str(error)
        assert [line["reason"] for line in way.dead()] == ["bad_json"]
    answer(None)
    await way.run()
    assert len(way.results()) == 40


async def test_an_outage_over_restarts_makes_no_dead_letters(
    way_to: WayTo, answer: Callable[[Exception | None], None]
) -> None:
    way = await way_to()
    way.write(records(5))
    await way.run()
    way.write(records(30))
    answer(ServiceFailed("503", code="ServiceUnavailable"))
    for _ in range(3):
        error = await stopped(way, retry={"give_up_after": "300ms", "base": "20ms", "cap": "50ms"})
        assert isinstance(error, RunStopped)
    assert way.dead() == []
    answer(None)
    await way.run()
    assert len(way.results()) == 30


async def test_a_mistyped_path_while_resuming_can_be_corrected(way_to: WayTo) -> None:
    way = await way_to()
    way.write(records(2))
    await way.run()
    good = str(way.folder / "in.jsonl")
    for wrong in ({"path": [good, str(way.folder / "typo.jsonl")]}, {"path": str(way.folder)}):
        assert isinstance(await stopped(way, source=wrong), ConfigError)
    await way.run()
    assert len(way.results()) == 2
