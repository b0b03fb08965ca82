"""Invocations are found by the locations that do not contain their ids."""

import pytest

from dispatcher.ledger.invocation import Entry, Planned
from dispatcher.ledger.output_index import OutputIndex


def entry(number: int, output: str | None = None, failure: str | None = None) -> Entry:
    planned = Planned(number, f"id-{number}", "shard", "application/json", "inline", 1)
    return Entry(planned, [], None, 0, 0.0, output=output, failure=failure)


@pytest.fixture
def known() -> Entry:
    return entry(1, "s3://out/a.out", "s3://out/a-error.out")


def test_output_and_failure_lead_to_the_invocation(known: Entry) -> None:
    for index in (OutputIndex([known]), OutputIndex([])):
        index.add(known)
        assert index.number_at("s3://out/a.out") == 1
        assert index.number_at("s3://out/a-error.out") == 1
        assert index.number_at("s3://out/b.out") is None


def test_a_location_with_the_id_is_not_indexed() -> None:
    index = OutputIndex([entry(1, "s3://out/id-1.out", "s3://failed/c.out")])
    assert index.number_at("s3://out/id-1.out") is None
    assert index.number_at("s3://failed/c.out") == 1


def test_an_invocation_that_is_over_is_not_found(known: Entry) -> None:
    index = OutputIndex([known, entry(2, "s3://out/b.out")])
    index.remove(known)
    index.remove(entry(3))
    assert index.number_at("s3://out/a.out") is None
    assert index.number_at("s3://out/a-error.out") is None
    assert index.number_at("s3://out/b.out") == 2
