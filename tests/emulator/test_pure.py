"""What decides without any input or output: laws, and cases with a story."""

import math
import zlib
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.config.settings import ServiceTime
from dispatcher.emulator.http.aws_chunked import AwsChunkedDecoder, decoder_for
from dispatcher.emulator.http.listener import url_of
from dispatcher.emulator.models.model import ServiceTimes
from dispatcher.emulator.s3.listing import Page, SortedKeys, list_page
from dispatcher.emulator.s3.objects import parse_range
from dispatcher.emulator.sagemaker.delivery import split_location
from dispatcher.emulator.sns.filter_policy import check_policy, matches

KEYS = st.lists(st.text("ab/c", min_size=1, max_size=6), unique=True, max_size=30)


def sorted_keys(keys: list[str]) -> SortedKeys:
    made = SortedKeys()
    for key in keys:
        made.add(key)
    return made


@settings(deadline=None)
@given(KEYS, st.data())
def test_sorted_keys_stay_sorted(keys: list[str], data: st.DataObject) -> None:
    gone = data.draw(st.sets(st.sampled_from(keys)) if keys else st.just(set()))
    made = sorted_keys(keys)
    for key in gone:
        made.remove(key)
    left = sorted(set(keys) - gone)
    assert list(made.after("", inclusive=True)) == left
    at = data.draw(st.text("ab/c", max_size=6))
    assert list(made.after(at)) == [key for key in left if key > at]
    assert list(made.after(at, inclusive=True)) == [key for key in left if key >= at]


def test_sorted_keys_split_and_vanish_by_block() -> None:
    keys = [f"{n:06d}" for n in range(10_000)]
    Random(1).shuffle(keys)
    made = sorted_keys(keys)
    assert len(made._blocks) > 3
    assert list(made.after("", inclusive=True)) == sorted(keys)
    for key in keys:
        made.remove(key)
    assert list(made.after("", inclusive=True)) == []


@settings(deadline=None)
@given(
    KEYS,
    st.text("ab/", max_size=2),
    st.sampled_from(["", "/", "b"]),
    st.integers(1, 5),
    st.text("ab/", max_size=3),
)
def test_pages_together_are_the_listing(
    keys: list[str], prefix: str, delimiter: str, limit: int, after: str
) -> None:
    made = sorted_keys(keys)
    whole = list_page(made, prefix=prefix, delimiter=delimiter, after=after, limit=10_000)
    assert whole.resume is None
    pages: list[Page] = []
    resume: str | None = after
    while resume is not None:
        page = list_page(made, prefix=prefix, delimiter=delimiter, after=resume, limit=limit)
        assert len(page.keys) + len(page.prefixes) <= limit
        pages.append(page)
        resume = page.resume
    assert [key for page in pages for key in page.keys] == whole.keys
    assert [p for page in pages for p in page.prefixes] == whole.prefixes


@settings(deadline=None)
@given(KEYS, st.text("ab/", max_size=2), st.sampled_from(["", "/"]))
def test_listing_holds_every_key_once_or_rolled_up(
    keys: list[str], prefix: str, delimiter: str
) -> None:
    page = list_page(sorted_keys(keys), prefix=prefix, delimiter=delimiter, after="", limit=1000)
    plain, rolled = [], set()
    for key in sorted(keys):
        if key.startswith(prefix):
            head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            if found:
                rolled.add(prefix + head + delimiter)
            else:
                plain.append(key)
    assert page.keys == plain
    assert page.prefixes == sorted(rolled)


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5), st.data())
def test_aws_chunked_content_survives_any_cut(chunks: list[bytes], data: st.DataObject) -> None:
    content = b"".join(chunks)
    crc = f"{zlib.crc32(content)}"
    framed = b"".join(b"%x;chunk-signature=0\r\n%s\r\n" % (len(c), c) for c in chunks)
    framed += b"0\r\nx-amz-checksum-crc32: " + crc.encode() + b"\r\n\r\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(framed)), max_size=8)))
    decoder = AwsChunkedDecoder()
    pieces = [
        piece
        for start, stop in zip([0, *cuts], [*cuts, len(framed)], strict=True)
        for piece in decoder.feed(framed[start:stop])
    ]
    decoder.finish()
    assert b"".join(pieces) == content
    assert decoder.trailers == {"x-amz-checksum-crc32": crc}


@pytest.mark.parametrize(
    "framed",
    [
        b"nonsense\r\n",
        b"3\r\nabcd\r\n",
        b"-1\r\n",
        b"3\r\nab",
        b"3\r\nabc\r\n",
        b"0\r\nno colon\r\n\r\n",
        b"0\r\n\r\nmore",
        b"1" * 20_000,
    ],
)
def test_broken_aws_chunked_is_refused(framed: bytes) -> None:
    def decode() -> None:
        decoder = AwsChunkedDecoder()
        decoder.feed(framed)
        decoder.finish()

    with pytest.raises(ValueError, match=r"chunk|body|trailer"):
        decode()


def test_only_streaming_bodies_are_decoded() -> None:
    assert decoder_for({"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}) is None
    assert decoder_for({}) is None
    streaming = {"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}
    assert decoder_for(streaming) is not None


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=2-", (2, 10)),
        ("bytes=5-100", (5, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-100", (0, 10)),
        ("bytes=5-2", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("bytes=-", None),
    ],
)
def test_range_is_read(header: str, span: tuple[int, int] | None) -> None:
    assert parse_range(header, 10) == span


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0)])
def test_range_outside_is_refused(header: str, size: int) -> None:
    with pytest.raises(ValueError, match="bytes"):
        parse_range(header, size)


EVENT = {"inferenceId": "run-7", "n": 1, "requestParameters": {"endpointName": "ep"}, "l": ["x"]}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"inferenceId": [{"prefix": "run-"}]}, True),
        ({"inferenceId": [{"prefix": "other"}, "run-7"]}, True),
        ({"inferenceId": ["run"]}, False),
        ({"requestParameters": {"endpointName": ["ep"]}}, True),
        ({"requestParameters": {"endpointName": ["no"]}}, False),
        ({"inferenceId": ["run-7"], "absent": ["x"]}, False),
        ({"n": [1]}, True),
        ({"n": [True]}, False),
        ({"n": [{"prefix": "1"}]}, False),
        ({"l": ["x"]}, True),
        ({"inferenceId": {"deeper": ["x"]}}, False),
    ],
)
def test_filter_policy_decides(policy: dict[str, Any], expected: bool) -> None:
    check_policy(policy)
    assert matches(policy, EVENT) is expected


@pytest.mark.parametrize(
    "policy",
    [
        [],
        {"a": "text"},
        {"a": []},
        {"a": [{"anything-but": ["x"]}]},
        {"a": [{"prefix": ""}]},
        {"a": {"b": [["x"]]}},
    ],
)
def test_filter_policy_of_another_kind_is_refused(policy: Any) -> None:
    with pytest.raises(ValueError, match="FilterPolicy"):
        check_policy(policy)


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("s3://b/dir/k?x#y%20", ("b", "dir/k?x#y%20")),
        ("s3://b", ("b", "")),
        ("https://b.s3.us-east-1.amazonaws.com/dir/a%20b", ("b", "dir/a b")),
        ("https://my.dotted.s3.amazonaws.com/k", ("my.dotted", "k")),
        ("https://s3.us-east-1.amazonaws.com/b/dir/k", ("b", "dir/k")),
    ],
)
def test_location_is_split(location: str, place: tuple[str, str]) -> None:
    assert split_location(location) == place


def test_service_time_goes_through_its_quantiles() -> None:
    times = ServiceTimes(ServiceTime(median=0.2, p99=1.0), Random(3))
    drawn = sorted(times.draw() for _ in range(20_000))
    assert math.isclose(drawn[10_000], 0.2, rel_tol=0.05)
    assert math.isclose(drawn[19_800], 1.0, rel_tol=0.1)


def test_service_time_is_seeded() -> None:
    quantiles = ServiceTime(median=0.2, p99=1.0)
    one, two = (ServiceTimes(quantiles, Random(9)) for _ in range(2))
    assert [one.draw() for _ in range(5)] == [two.draw() for _ in range(5)]


@pytest.mark.parametrize("quantiles", [ServiceTime(median=0.3), ServiceTime(median=0.0, p99=1.0)])
def test_service_time_without_spread_is_constant(quantiles: ServiceTime) -> None:
    times = ServiceTimes(quantiles, Random(0))
    assert {times.draw() for _ in range(10)} == {quantiles.median}


@pytest.mark.parametrize(
    ("host", "url"), [("127.0.0.1", "http://127.0.0.1:80"), ("::1", "http://[::1]:80")]
)
def test_url_of_an_address(host: str, url: str) -> None:
    assert url_of(host, 80) == url


def test_aws_chunked_trailer_keeps_what_is_no_blank() -> None:
    decoder = AwsChunkedDecoder()
    decoder.feed(b"0\r\nx-a: \t\xa0v\x85 \r\n\r\n")
    assert decoder.trailers == {"x-a": "\xa0v\x85"}
