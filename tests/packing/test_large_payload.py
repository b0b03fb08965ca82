"""A large record's payload in pieces is the same as its payload made at once."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.config.packing import Encoding, Framing
from dispatcher.flow import content as content_
from dispatcher.flow.content import FileSlice
from dispatcher.packing.codec import Codec
from dispatcher.packing.large_payload import (
    digest_of_content,
    digest_of_payload,
    exact_size,
    pieces,
)
from tests.payloads import codec

PLAIN: dict[Encoding, Callable[[bytes], bytes]] = {
    "json": bytes,
    "json+gzip": gzip.decompress,
    "json+zstd": zstandard.decompress,
    "msgpack": bytes,
}


def slice_of(folder: Path, raw: bytes) -> FileSlice:
    file = folder / "raw"
    file.write_bytes(b"before" + raw + b"after")
    return FileSlice(os.open(file, os.O_RDONLY), 6, len(raw))


def template(framing: Framing) -> Codec:
    given = {"template": '{"instances": [...], "n": 1}'} if framing == "template" else {}
    return codec(framing, **given)


@pytest.mark.parametrize("framing", ["none", "lines", "json-array", "template"])
@pytest.mark.parametrize("encoding", ["json", "json+gzip", "json+zstd"])
def test_pieces_make_the_payload(
    framing: Framing, encoding: Encoding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content_, "CHUNK_BYTES", 1_000)
    made, raw = template(framing), b'["%s"]' % os.urandom(5_000).hex().encode()
    content = slice_of(tmp_path, raw)
    payload = b"".join(pieces(content, made, encoding))
    content.close()
    assert PLAIN[encoding](payload) == made.frame.join([raw])
    size = exact_size(len(raw), 1, made, encoding)
    assert size == (len(payload) if encoding == "json" else None)


def test_what_has_to_be_known_is_read_whole(tmp_path: Path) -> None:
    made, raw = codec("msgpack-array", encodings=["msgpack"]), b'{"a":[1,2]}'
    content = slice_of(tmp_path, raw)
    assert list(pieces(content, made, "msgpack")) == [made.payload([raw], "msgpack")]
    content.close()
    assert exact_size(len(raw), 1, made, "msgpack") is None


text = st.text(st.characters(codec="ascii"), max_size=4)
settled = settings(max_examples=200, derandomize=True, database=None, deadline=None)


@settled
@given(st.tuples(text, text), st.tuples(text, text))
def test_other_content_has_another_digest(one: tuple[str, str], two: tuple[str, str]) -> None:
    def digest(of: tuple[str, str]) -> str:
        return digest_of_payload(of[1].encode(), "json", of[0])

    assert (digest(one) == digest(two)) == (one == two)


def test_the_digest_of_a_large_record_is_of_all_that_makes_its_payload(tmp_path: Path) -> None:
    def digest(
        raw: bytes = b"[1]", encoding: Encoding = "json", kind: str = "a/b", *,
        framing: Framing = "none", select: str = "",
    ) -> str:  # fmt: skip
        content = slice_of(tmp_path, raw)
        frame = template(framing).frame
        try:
            return digest_of_content(content, encoding, kind, frame=frame, select=select)
        finally:
            content.close()

    assert digest() == digest()
    others = {
        digest(),
        digest(b"[2]"),
        digest(encoding="json+gzip"),
        digest(kind="a/c"),
        digest(framing="json-array"),
        digest(framing="template"),
        digest(select="a"),
    }
    assert len(others) == 7
