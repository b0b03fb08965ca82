"""An outage of events begins and ends by the share of completions that had one."""

import random

import pytest

from dispatcher.completion.sweep.event_outage import EventOutageDetector


def play(detector: EventOutageDetector, heard: bool, now: float) -> bool:
    """Let one invocation of the last second complete; return whether the state changed."""
    if heard:
        return detector.heard(now)
    detector.found(now - 0.5, now)
    return detector.begins(now)


def test_a_dozen_completions_without_any_event_are_an_outage() -> None:
    detector = EventOutageDetector(0.0)
    changes = [second for second in range(1, 100) if play(detector, heard=False, now=second)]
    assert changes == [11]
    assert (detector.is_outage, detector.has_heard, detector.missed) == (True, False, 99)


def test_events_that_stop_are_an_outage_and_that_come_again_end_it() -> None:
    detector = EventOutageDetector(0.0)
    changes = [now for now in range(1, 400) if play(detector, heard=not 100 < now < 300, now=now)]
    assert changes == [122, 306]
    assert not detector.is_outage


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("lost", [0.01, 0.3])
def test_single_lost_events_are_no_outage(seed: int, lost: float) -> None:
    rng, detector = random.Random(seed), EventOutageDetector(0.0)
    assert not any(play(detector, rng.random() >= lost, now) for now in range(1, 2_000))


@pytest.mark.parametrize("seed", range(20))
def test_a_queue_that_loses_nearly_all_changes_the_state_once(seed: int) -> None:
    rng, detector = random.Random(seed), EventOutageDetector(0.0)
    changes = [now for now in range(1, 2_000) if play(detector, rng.random() >= 0.95, now)]
    assert len(changes) <= 1


def test_lost_events_that_are_found_after_the_last_event_are_no_silence() -> None:
    detector = EventOutageDetector(0.0)
    detector.heard(100.0)
    for accepted_at in range(100):
        detector.found(float(accepted_at), 160.0)
    assert not detector.begins(1_000.0)
    assert detector.missed == 0


def test_outputs_seen_just_before_their_events_are_no_silence() -> None:
    detector = EventOutageDetector(0.0)
    for _ in range(1_000):
        detector.found(50.0, 60.0)
    assert not detector.begins(69.0), "the events may be on their way"
    detector.heard(69.5)
    assert not detector.begins(80.0)
