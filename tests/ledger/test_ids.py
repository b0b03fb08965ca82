"""Ids sort, fit the service's limits, and are distinguished from those of other runs."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher import limits
from dispatcher.ledger import ids

TAG = "0123abcz"
numbers = st.integers(min_value=0, max_value=32**12 - 1)
tags = st.builds(ids.make_tag)


@given(tags, numbers)
def test_an_id_gives_back_its_number(tag: str, number: int) -> None:
    assert ids.number_of(tag, ids.invocation_id(tag, number)) == number


@given(tags, st.sets(numbers, min_size=2))
def test_ids_sort_by_number(tag: str, some: set[int]) -> None:
    ordered = sorted(some)
    assert sorted(ids.invocation_id(tag, n) for n in some) == [
        ids.invocation_id(tag, n) for n in ordered
    ]


@given(tags, numbers)
def test_what_is_made_of_an_id_is_within_the_limits_of_the_service(tag: str, number: int) -> None:
    invocation = ids.invocation_id(tag, number)
    name = ids.filename(invocation)
    folder = ids.shard(tag, number)
    assert invocation.startswith(tag)
    assert len(invocation) <= 26
    assert len(name) <= limits.FILENAME_CHARS
    assert re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9\-_.]*", name)
    assert name.count(".") <= 1
    assert name == f"{invocation}.out"
    assert len(folder) <= limits.OUTPUT_EXTENSION_CHARS
    assert re.fullmatch(limits.OUTPUT_EXTENSION_PATTERN, folder)
    assert folder.startswith(f"{tag}/")


@given(st.integers(min_value=0, max_value=10**9))
def test_a_thousand_neighbours_share_a_shard_and_the_next_thousand_does_not(block: int) -> None:
    first = block * limits.S3_LIST_PAGE_KEYS
    shards = {ids.shard(TAG, first + n) for n in range(limits.S3_LIST_PAGE_KEYS)}
    assert shards == {ids.shard(TAG, first)}
    assert ids.shard(TAG, first + limits.S3_LIST_PAGE_KEYS) > ids.shard(TAG, first)


@pytest.mark.parametrize(
    "foreign",
    [
        "",
        "-",
        TAG,
        f"{TAG}-",
        "4bad2b42-5d3c-4f0a-9c31-0c9a6d1f2b7e",
        ids.invocation_id("zzzzzzzz", 7),
        ids.invocation_id(TAG, 7)[:-1],
        ids.invocation_id(TAG, 7) + "0",
        ids.invocation_id(TAG, 10).upper(),
        f"{TAG}-00000000000u",
        f"{TAG}-00000000000 ",
        f"{TAG}-0000000000-1",
        f"{TAG}-00000000000\u0661",  # a digit to Unicode, not to us
        f"{TAG}_000000000001",
    ],
)
def test_ids_of_others_have_no_number(foreign: str) -> None:
    assert ids.number_of(TAG, foreign) is None


@given(st.text(max_size=40))
def test_no_text_breaks_the_parser(text: str) -> None:
    number = ids.number_of(TAG, text)
    assert number is None or ids.invocation_id(TAG, number) == text


def test_tags_differ_and_read_without_mistakes() -> None:
    made = {ids.make_tag() for _ in range(1_000)}
    assert len(made) == 1_000
    assert all(re.fullmatch("[0-9a-hjkmnp-tv-z]{8}", tag) for tag in made)
