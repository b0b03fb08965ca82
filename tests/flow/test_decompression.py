"""Compressed files are decoded whole, in bounded pieces, and as far as they can be."""

import gzip
from typing import Literal

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.flow.decompression import DamagedError, decoder, detect, undecided

Kind = Literal["gzip", "zstd"]
CONTENT = b"".join(b'{"id":%d,"x":%d}\n' % (i, i * 7919 % 10007) for i in range(20_000))


def compress(kind: Kind, content: bytes) -> bytes:
    if kind == "gzip":
        return gzip.compress(content, mtime=0)
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


def decode(kind: Kind, data: bytes, block: int = 1000) -> tuple[bytes, str | None]:
    made = decoder(kind)
    content = bytearray()
    try:
        for start in range(0, len(data), block):
            for piece in made.feed(data[start : start + block]):
                content += piece
        for piece in made.end():
            content += piece
    except DamagedError as damage:
        return bytes(content), str(damage)
    return bytes(content), None


kinds = pytest.mark.parametrize("kind", ["gzip", "zstd"])


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", "none"),
        (b'{"a"', "none"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\x50\x2a\x4d\x18", "zstd"),
        (b"\x5f\x2a\x4d\x18", "zstd"),
        (b"\x60\x2a\x4d\x18", "none"),
    ],
)
def test_first_bytes_show_the_compression(head: bytes, kind: str) -> None:
    assert detect(head) == kind


@given(head=st.binary(max_size=4), more=st.binary(max_size=4))
def test_a_decided_head_stays_decided(head: bytes, more: bytes) -> None:
    if not undecided(head):
        assert detect(head + more) == detect(head)


@pytest.mark.parametrize("head", [b"", b"\x1f", b"\x28\xb5\x2f", b"[", b"\x5b\x2a\x4d"])
def test_the_beginning_of_a_magic_number_is_undecided(head: bytes) -> None:
    assert undecided(head)


@pytest.mark.parametrize("head", [b"1", b"{", b"[]", b"(a", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"])
def test_records_need_not_be_waited_for(head: bytes) -> None:
    assert not undecided(head)


@kinds
@pytest.mark.parametrize("block", [1, 999, 1 << 20])
def test_what_was_compressed_comes_back(kind: Kind, block: int) -> None:
    data = compress(kind, CONTENT)
    assert detect(data[:4]) == kind
    assert decode(kind, data, block) == (CONTENT, None)


@kinds
def test_members_and_frames_follow_each_other(kind: Kind) -> None:
    parts = [CONTENT[:5000], b"", CONTENT[5000:5001], CONTENT[5001:]]
    assert decode(kind, b"".join(compress(kind, part) for part in parts)) == (CONTENT, None)


def test_padding_of_zero_bytes_is_no_damage() -> None:
    data = compress("gzip", b"a\n") + b"\0" * 700 + compress("gzip", b"b\n") + b"\0" * 9
    assert decode("gzip", data, 100) == (b"a\nb\n", None)


def test_skippable_zstd_frames_are_skipped() -> None:
    skippable = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
    data = skippable + compress("zstd", b"a\n") + skippable
    assert decode("zstd", data) == (b"a\n", None)


@kinds
def test_an_empty_file_is_empty(kind: Kind) -> None:
    assert decode(kind, b"") == (b"", None)


@kinds
def test_a_truncated_file_gives_what_it_holds(kind: Kind) -> None:
    data = compress(kind, CONTENT)
    content, damage = decode(kind, data[:-20])
    assert damage == f"the {kind} data ends too early"
    assert CONTENT.startswith(content)
    assert decode(kind, data[:-20], 7) == (content, damage)


def test_a_damaged_gzip_file_gives_everything_before_the_damage() -> None:
    data = compress("gzip", CONTENT)
    wrong_crc = data[:-8] + bytes([data[-8] ^ 1]) + data[-7:]
    content, damage = decode("gzip", wrong_crc)
    assert content == CONTENT
    assert damage is not None
    assert "damaged" in damage


@kinds
def test_damage_leaves_the_same_content_however_the_file_is_read(kind: Kind) -> None:
    data = bytearray(compress(kind, CONTENT))
    middle = len(data) // 2
    data[middle : middle + 64] = b"\xff" * 64
    first, damage = decode(kind, bytes(data), 1 << 20)
    assert damage is not None
    assert CONTENT.startswith(first[:1000])
    for block in (1, 333, 4096):
        assert decode(kind, bytes(data), block) == (first, damage)


@kinds
def test_something_else_behind_the_end_is_damage(kind: Kind) -> None:
    content, damage = decode(kind, compress(kind, b"a\n") + b"garbage, not compressed")
    assert content == b"a\n"
    assert damage is not None


@kinds
def test_a_bomb_goes_off_in_small_pieces(kind: Kind) -> None:
    size = 64_000_000
    data = compress(kind, bytes(size))
    made = decoder(kind)
    pieces = [len(piece) for piece in made.feed(data)]
    pieces += [len(piece) for piece in made.end()]
    assert sum(pieces) == size
    assert max(pieces) <= 33_000_000


@given(content=st.binary(max_size=2000), block=st.integers(1, 300))
@kinds
def test_decode_is_the_inverse_of_compress(kind: Kind, content: bytes, block: int) -> None:
    assert decode(kind, compress(kind, content), block) == (content, None)
