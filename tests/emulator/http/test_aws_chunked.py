"""The aws-chunked framing: any cut, and broken framings."""

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.emulator.http.aws_chunked import AwsChunkedDecoder, decoder_for


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


def test_aws_chunked_trailer_loses_blanks_alone() -> None:
    decoder = AwsChunkedDecoder()
    decoder.feed(b"0\r\nx-a: \t\xa0v\x85 \r\n\r\n")
    assert decoder.trailers == {"x-a": "\xa0v\x85"}
