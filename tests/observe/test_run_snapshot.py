"""The numbers of a display: rate, share and remaining time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.observe.meter import FixedLevels, Meter
from dispatcher.observe.run_snapshot import Pace, take


def test_a_steady_rate_is_right_from_the_second_look_on() -> None:
    pace = Pace(100.0)
    assert pace.update(100.0, 0) is None
    for second in range(1, 100):
        assert pace.update(100.0 + second, 50 * second) == pytest.approx(50.0)


def test_what_was_settled_before_is_no_part_of_the_rate() -> None:
    pace = Pace(0.0)
    pace.update(0.0, 1_000_000)
    assert pace.update(1.0, 1_000_010) == pytest.approx(10.0)


def test_the_rate_follows_a_change_calmly() -> None:
    pace = Pace(0.0)
    for second in range(61):
        pace.update(float(second), 100 * second)
    one_second_later = pace.update(61.0, 6_000)
    assert one_second_later == pytest.approx(100 * 0.905, rel=0.01)
    for second in range(62, 120):
        late = pace.update(float(second), 6_000)
    assert late is not None
    assert late < 1.0


def test_a_second_look_at_the_same_time_changes_nothing() -> None:
    pace = Pace(0.0)
    pace.update(0.0, 0)
    assert pace.update(1.0, 10) == pace.update(1.0, 500)


@given(
    st.lists(st.tuples(st.floats(0.01, 60), st.integers(0, 1000)), min_size=1, max_size=30),
)
def test_the_rate_lies_between_the_slowest_and_the_fastest(steps: list[tuple[float, int]]) -> None:
    pace, now, settled = Pace(0.0), 0.0, 0
    pace.update(now, settled)
    for elapsed, more in steps:
        now, settled = now + elapsed, settled + more
        rate = pace.update(now, settled)
    rates = [more / elapsed for elapsed, more in steps]
    assert rate is not None
    assert min(rates) * 0.999 <= rate <= max(rates) * 1.001 + 1e-9


def _half_way() -> Meter:
    meter = Meter(phase="running", read=600, completed=490, dead=10)
    meter.bytes_expected = 1_000_000
    meter.calls.update(accepted=580, throttled=3, transient=0)
    meter.invocations.update(inline=450, s3=150)
    meter.levels = FixedLevels(outstanding=100, on_wire=4, bytes_read=600_000)
    return meter


def test_a_snapshot_half_way() -> None:
    meter = _half_way()
    pace = Pace(0.0)
    meter.completed = 390
    take(meter, 0.0, pace)
    meter.completed = 490
    snapshot = take(meter, 1.0, pace)
    assert snapshot.rate == pytest.approx(100.0)
    # 600 of 1000 expected records are read, 500 settled; the other 500 take five seconds.
    assert snapshot.share == pytest.approx(0.5)
    assert snapshot.remaining == pytest.approx(5.0)
    assert snapshot.inline_share == 0.75
    assert snapshot.troubles == {"throttled": 3}
    assert snapshot.sent == 580
    assert snapshot.seconds == 1.0


def test_without_a_known_size_there_is_no_share_and_no_end() -> None:
    meter = _half_way()
    meter.bytes_expected = None
    pace = Pace(0.0)
    take(meter, 0.0, pace)
    meter.completed += 5
    snapshot = take(meter, 1.0, pace)
    assert snapshot.share is None
    assert snapshot.remaining is None
    assert snapshot.rate == pytest.approx(5.0)


def test_a_file_that_grew_does_not_make_more_than_all() -> None:
    meter = _half_way()
    meter.levels = FixedLevels(bytes_read=2_000_000)
    meter.completed = 590
    snapshot = take(meter, 1.0, Pace(0.0))
    assert snapshot.share == 1.0


def test_a_stalled_run_has_no_remaining_time() -> None:
    meter, pace = _half_way(), Pace(0.0)
    take(meter, 0.0, pace)
    assert take(meter, 5.0, pace).remaining is None


def test_an_empty_meter_can_be_shown() -> None:
    snapshot = take(Meter(), 0.0, Pace(0.0))
    assert snapshot.rate is None
    assert snapshot.share is None
    assert snapshot.inline_share is None
    assert snapshot.troubles == {}


def test_opening_the_ledger_of_an_earlier_run_is_no_pace() -> None:
    meter, pace = Meter(), Pace(0.0)
    take(meter, 0.0, pace)
    meter.completed = meter.resumed_from = 1_000_000
    assert take(meter, 1.0, pace).rate == 0.0
    meter.completed += 10
    assert take(meter, 2.0, pace).rate == pytest.approx(5.0, rel=0.2)
