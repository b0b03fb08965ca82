"""An event settles an outstanding invocation of this run that is not claimed, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dispatcher.aws.location import parse_location
from dispatcher.completion.event import Completion, NoCompletion
from dispatcher.completion.event_matching import is_useless, match

if TYPE_CHECKING:
    from typing import Literal

    from dispatcher.completion.event_matching import Match
    from dispatcher.observe.events import EventKind
    from tests.completion.scene import Scene


async def test_an_event_is_matched_by_its_id_or_by_the_place_of_its_output(scene: Scene) -> None:
    (entry,) = await scene.accepted()
    by_id = Completion("completed", entry.planned.id, None)
    assert match(by_id, scene.ledger) == ("matched", entry)
    at = "s3://elsewhere/chosen-by-the-service.out"
    (named,) = await scene.plan(1)
    scene.ledger.accept(named.planned, scene.now(), at, None)
    by_place = Completion("completed", None, parse_location(at))
    assert match(by_place, scene.ledger) == ("matched", named)


async def test_an_event_of_a_claimed_or_settled_invocation_settles_nothing(scene: Scene) -> None:
    (entry,) = await scene.accepted()
    event = Completion("completed", entry.planned.id, None)
    assert scene.ledger.claim(entry)
    assert match(event, scene.ledger) == ("claimed", entry)
    await scene.settle(entry)
    assert match(event, scene.ledger) == ("closed", None)


async def test_an_event_of_another_run_is_foreign(scene: Scene) -> None:
    for event in (
        Completion("completed", "othertag-000000000001", parse_location("s3://out/x.out")),
        Completion("completed", None, None),
        Completion("completed", "", None),
    ):
        assert match(event, scene.ledger) == ("foreign", None)


@pytest.mark.parametrize("why", ["test", "malformed", "foreign"])
async def test_a_message_that_completes_nothing_keeps_its_kind(
    scene: Scene, why: Literal["test", "malformed", "foreign"]
) -> None:
    assert match(NoCompletion(why), scene.ledger) == (why, None)


@pytest.mark.parametrize(
    ("kinds", "when_left", "when_deleted"),
    [
        (["closed"], True, True),
        (["test"], True, True),
        (["foreign"], False, True),
        (["malformed"], False, True),
        (["claimed"], False, False),
        (["closed", "foreign"], False, True),
        (["closed", "claimed"], False, False),
        ([], True, True),
    ],
)
def test_a_message_is_deleted_at_once_where_all_of_it_is_useless(
    kinds: list[EventKind], when_left: bool, when_deleted: bool
) -> None:
    matches: list[Match] = [(kind, None) for kind in kinds]
    assert is_useless(matches, "leave") is when_left
    assert is_useless(matches, "delete") is when_deleted
