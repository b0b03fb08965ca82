"""The cost model gives the known figures, and counts what is charged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.plan.cost import (
    ITEMS,
    PRICE_NAMES,
    Assumptions,
    Prices,
    Usage,
    bill,
    classic,
    invocation,
    put_requests,
    total,
    with_prices,
)

MILLION = 1_000_000
IN_EVENT = Assumptions(response_in_event=True)


def dollars(used: Usage) -> float:
    return total(used.scaled(MILLION), Prices())


def test_a_million_invocations_through_s3() -> None:
    assert dollars(classic(1)) == pytest.approx(5 + 5 + 0.5 + 0.08 + 0.4)


def test_a_million_inline_invocations_with_the_response_in_the_event() -> None:
    assert dollars(invocation(1, 0, IN_EVENT)) == pytest.approx(5 + 0.5 + 0.08)


@given(st.integers(1, 40))
def test_packing_divides_the_cost_of_a_record(count: int) -> None:
    for assumed in (
        Assumptions(output_bytes=100),
        Assumptions(events=True, response_in_event=True, output_bytes=100),
    ):
        for puts in (0, 1):
            packed = dollars(invocation(count, puts, assumed)) / count
            assert packed == pytest.approx(dollars(invocation(1, puts, assumed)) / count)


def test_a_response_in_the_event_is_cheaper_only_while_it_is_small() -> None:
    fetched = dollars(invocation(1, 0, Assumptions(output_bytes=40_000)))
    for size, cheaper in ((200, True), (45_000, True), (50_000, False), (120_000, False)):
        in_event = dollars(
            invocation(1, 0, Assumptions(events=True, response_in_event=True, output_bytes=size))
        )
        assert (in_event < fetched) is cheaper


def test_a_response_too_large_for_an_event_is_fetched() -> None:
    assumed = Assumptions(events=True, response_in_event=True, output_bytes=128_000)
    assert invocation(1, 0, assumed).s3_output_get == 0
    assert invocation(2, 0, assumed) == invocation(2, 0, Assumptions(output_bytes=128_000))


def test_without_events_nothing_is_published() -> None:
    used = invocation(1, 0, Assumptions(events=False, response_in_event=True))
    assert (used.sns_publish, used.sqs, used.s3_output_get) == (0, 0, 1)


def test_keys_of_kms_are_used_for_what_is_staged() -> None:
    kms = Assumptions(kms=True)
    assert invocation(1, 0, kms).kms == 0
    assert invocation(1, 1, kms).kms == 2


@pytest.mark.parametrize(
    ("size", "requests"), [(0, 1), (9, 1), (10, 4), (15, 5), (16, 6), (20, 6), (21, 7)]
)
def test_parts_of_an_upload_are_charged(size: int, requests: int) -> None:
    assert put_requests(size, part_bytes=5, parts_from=10) == requests


def test_prices_can_be_replaced_one_by_one() -> None:
    prices = with_prices({"s3_put": 10.0})
    assert prices == Prices(s3_put=10.0)
    lines = {line.item: line.dollars for line in bill(classic(1).scaled(MILLION), prices)}
    assert list(lines) == list(ITEMS)
    assert lines["s3_input_put"] == lines["s3_output_put"] == pytest.approx(10.0)
    assert set(ITEMS.values()) == set(PRICE_NAMES)


def test_usage_adds_up() -> None:
    used = Usage()
    used.add(classic(3), 2)
    assert (used.s3_input_put, used.s3_output_put) == (6, 2)
    assert used.sqs == pytest.approx(0.4)
