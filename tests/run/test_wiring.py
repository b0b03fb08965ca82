"""The wiring: what the stages share, what stays apart, and what an earlier process left."""

from dispatcher.ledger.outcome import Outcome, Settlement
from dispatcher.reasons import Reason
from dispatcher.records.record import Position
from dispatcher.run.wiring import RunLevels
from tests.completion.scene import QUEUE, OpenScene, Scene
from tests.run.doubles import EndlessSource, wired


async def test_without_a_queue_there_is_no_listener_and_nothing_to_drain(scene: Scene) -> None:
    with wired(scene) as stages:
        assert (stages.listener, stages.event_queue) == (None, None)
        assert stages.drained.is_set()


async def test_with_a_queue_the_start_waits_until_it_is_drained(open_scene: OpenScene) -> None:
    async with open_scene(completion=QUEUE) as scene:
        with wired(scene) as stages:
            assert stages.listener is not None
            assert stages.listener.queue is stages.event_queue
            assert getattr(stages.event_queue, "url", None) == QUEUE["queue_url"]
            assert stages.listener.drained is stages.drained
            assert not stages.drained.is_set()


async def test_the_split_budget_begins_with_what_earlier_processes_read_and_made(
    open_scene: OpenScene,
) -> None:
    packed = {"framing": "lines", "max_records": 9}
    async with open_scene(packing=packed) as scene:
        with wired(scene) as stages:
            budget = stages.joiner.split_budget
            assert (budget.read, budget.made) == (0, 0)
        (entry,) = await scene.plan(5)
        assert scene.ledger.claim(entry)
        first, _ = await scene.ledger.replace(entry, after=0.0, parts=2)
        part = scene.ledger.find(first.number)
        assert part is not None
        await scene.settle(part)
        bad = Outcome.dead(Position("in", 50, 60, 6), "in:6", Reason.BAD_JSON, "no JSON")
        await scene.ledger.settle([Settlement(None, [bad])], {})
    async with open_scene(packing=packed) as scene:
        with wired(scene) as stages:
            budget = stages.joiner.split_budget
            assert (budget.read, budget.made) == (6, 2)


async def test_stages_share_their_budgets_and_the_sender_state(scene: Scene) -> None:
    with wired(scene) as stages:
        split_budgets = (
            stages.intake.split_budget,
            stages.joiner.split_budget,
            stages.sender.oversize.split_budget,
        )
        assert len({id(budget) for budget in split_budgets}) == 1
        memory_budgets = (
            stages.intake.memory,
            stages.sender.memory,
            stages.staging.memory,
            stages.held_refusals.memory,
            stages.joiner.memory,
        )
        assert len({id(budget) for budget in memory_budgets}) == 1
        assert stages.joiner.memory.capacity == scene.config.limits.payload_memory
        assert stages.sender.state is stages.sender_state


async def test_each_kind_of_request_has_an_outage_timer_of_its_own(open_scene: OpenScene) -> None:
    async with open_scene(completion=QUEUE) as scene:
        with wired(scene) as stages:
            assert stages.listener is not None
            timers = (stages.joiner.outage, stages.sweeper.outage, stages.listener.outage)
            assert len({id(timer) for timer in timers}) == 3
            assert stages.joiner.outputs.outage is stages.joiner.outage


async def test_levels_are_read_from_their_owners_when_they_are_shown(scene: Scene) -> None:
    source = EndlessSource()
    with wired(scene) as stages:
        levels = RunLevels(senders=stages.sender_state, ledger=scene.ledger, source=source)
        assert (levels.on_wire, levels.outstanding, levels.bytes_read) == (0, 0, 0)
        stages.sender_state.on_wire, source.bytes_read = 3, 70
        await scene.plan(1, 1)
        assert (levels.on_wire, levels.outstanding, levels.bytes_read) == (3, 2, 70)
