"""Payloads made piece by piece: any decompressor reads them, and their size was known."""

import gzip
import random
import shutil
import subprocess
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.packing.compression import CompressedStream, Compression, exceeds

KINDS: list[Compression] = ["gzip", "zstd"]
kinds = pytest.mark.parametrize("kind", KINDS)


def plain(payload: bytes, kind: Compression) -> bytes:
    """Decompress as a container does, at once."""
    if kind == "gzip":
        return gzip.decompress(payload)
    return zstandard.ZstdDecompressor().decompress(payload)


def stream_of(pieces: list[bytes], kind: Compression) -> CompressedStream:
    stream = CompressedStream(kind)
    for piece in pieces:
        stream.put(piece)
    return stream


def corpus() -> list[bytes]:
    """Return pieces as different from each other as pieces can be."""
    rng = random.Random(3)
    words = [rng.randbytes(rng.randint(2, 8)).hex().encode() for _ in range(300)]
    text = b" ".join(rng.choices(words, k=40_000))
    return [text, rng.randbytes(300_000), bytes(500_000), text[:1], text[5:99_999], text]


@kinds
@given(
    pieces=st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=8),
    before=st.binary(max_size=20),
    after=st.binary(max_size=20),
)
def test_any_pieces_come_back(
    kind: Compression, pieces: list[bytes], before: bytes, after: bytes
) -> None:
    stream = stream_of(pieces, kind)
    payload = stream.payload(before, after)
    assert plain(payload, kind) == before + b"".join(pieces) + after
    assert stream.size(before, after) == len(payload)


@kinds
def test_large_pieces_come_back(kind: Compression) -> None:
    pieces = corpus()
    payload = stream_of(pieces, kind).payload(b"[", b"]")
    assert plain(payload, kind) == b"".join((b"[", *pieces, b"]"))


@kinds
def test_what_stands_around_may_be_long(kind: Compression) -> None:
    before, after = random.Random(4).randbytes(200_000), bytes(131_072)
    stream = stream_of([b"1"], kind)
    payload = stream.payload(before, after)
    assert plain(payload, kind) == before + b"1" + after
    assert stream.size(before, after) == len(payload)


@kinds
def test_the_last_piece_can_be_taken_back(kind: Compression) -> None:
    *pieces, last = corpus()
    stream = stream_of(pieces, kind)
    size, payload = stream.size(b"[", b"]"), stream.payload(b"[", b"]")
    stream.put(last)
    assert stream.size(b"[", b"]") > size
    stream.take_back()
    assert stream.size(b"[", b"]") == size
    assert stream.payload(b"[", b"]") == payload


@kinds
def test_the_same_pieces_give_the_same_bytes(kind: Compression) -> None:
    made = {stream_of(corpus(), kind).payload(b"", b"") for _ in range(3)}
    assert len(made) == 1


@kinds
def test_pieces_cost_little(kind: Compression) -> None:
    text = corpus()[0]
    pieces = [text[at : at + 30_000] for at in range(0, len(text), 30_000)]
    whole = len(stream_of([text], kind).payload(b"", b""))
    assert len(stream_of(pieces, kind).payload(b"", b"")) < 1.01 * whole


@kinds
def test_it_is_one_member_or_frame(kind: Compression) -> None:
    payload = stream_of(corpus(), kind).payload(b"[", b"]")
    if kind == "gzip":
        unpacking = zlib.decompressobj(31)
        unpacking.decompress(payload)
        assert unpacking.eof
        assert unpacking.unused_data == b""
        return
    parameters = zstandard.get_frame_parameters(payload)
    assert parameters.content_size == sum(map(len, corpus())) + 2
    frame = zstandard.ZstdDecompressor().decompressobj()
    frame.decompress(payload)
    assert frame.eof
    assert frame.unused_data == b""


@pytest.mark.skipif(shutil.which("gzip") is None, reason="needs the program gzip")
def test_another_program_takes_it() -> None:
    payload = stream_of(corpus(), "gzip").payload(b"[", b"]")
    done = subprocess.run(["gzip", "-dc"], input=payload, stdout=subprocess.PIPE, check=True)
    assert done.stdout == b"".join((b"[", *corpus(), b"]"))


@pytest.mark.skipif(shutil.which("zstd") is None, reason="needs the program zstd")
def test_another_program_takes_zstd() -> None:
    payload = stream_of(corpus(), "zstd").payload(b"[", b"]")
    done = subprocess.run(["zstd", "-dc"], input=payload, stdout=subprocess.PIPE, check=True)
    assert done.stdout == b"".join((b"[", *corpus(), b"]"))


@kinds
def test_too_much_is_known_before_all_is_compressed(kind: Compression) -> None:
    noise = random.Random(6).randbytes(600_000)
    assert exceeds(noise, kind, 128_000)
    assert not exceeds(bytes(600_000), kind, 128_000)
    for content in (b"1", noise[:1_000], noise, bytes(600_000), b"".join(corpus())):
        size = len(stream_of([content], kind).payload(b"", b""))
        assert not exceeds(content, kind, size), "it fits"
        assert exceeds(content, kind, size - 10)
