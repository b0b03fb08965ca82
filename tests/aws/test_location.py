"""Locations: parsing returns what was written."""

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.aws.location import parse_location
from dispatcher.aws.requests import Location

buckets = st.from_regex(r"[a-z0-9][a-z0-9-]{1,20}[a-z0-9]", fullmatch=True)
keys = st.text(min_size=1).filter(lambda key: "\ud800" not in key)


@given(buckets, keys)
def test_what_is_written_is_read(bucket: str, key: str) -> None:
    at = Location(bucket, key)
    assert parse_location(str(at)) == at
    assert parse_location(f"https://{bucket}.s3.eu-west-1.amazonaws.com/{key}") == at
    assert parse_location(f"https://s3.eu-west-1.amazonaws.com/{bucket}/{key}") == at


@given(st.text())
def test_any_text_is_a_location_or_none(text: str) -> None:
    at = parse_location(text)
    assert at is None or (at.bucket and at.key)
