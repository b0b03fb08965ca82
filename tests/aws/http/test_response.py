"""Response reader: whole responses, half responses, and garbage."""

import random
from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.aws.http.response import (
    HEAD_BYTES,
    MalformedResponseError,
    Response,
    ResponseReader,
)
from tests.aws import fuzz

OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = OK + b"Content-Length: 0\r\n\r\n"
HELLO = OK + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
MOST = 1000


@dataclass
class Reading:
    """The result of reading the bytes of one connection."""

    reader: ResponseReader
    error: str | None

    @property
    def is_reusable(self) -> bool:
        return self.reader.is_complete and self.reader.is_reusable and self.error is None

    @property
    def response(self) -> Response:
        assert self.reader.is_complete, self.error
        return self.reader.response()


def read(
    pieces: Iterable[bytes],
    *,
    is_head: bool = False,
    max_body_bytes: int = MOST,
    accepts_any_length: bool = False,
    ends: bool = False,
) -> Reading:
    reader = ResponseReader()
    reader.begin(
        is_head=is_head, max_body_bytes=max_body_bytes, accepts_any_length=accepts_any_length
    )
    try:
        for piece in pieces:
            reader.feed(piece)
    except MalformedResponseError as error:
        return Reading(reader, str(error))
    if ends:
        reader.end()
    return Reading(reader, None)


def drip(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


@pytest.fixture(params=["whole", "in drips"])
def cut(request: pytest.FixtureRequest) -> fuzz.Cut:
    return drip if request.param == "in drips" else lambda data: [data]


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (HELLO, b"hello"),
        (EMPTY, b""),
        (OK + b"content-LENGTH:\t 5 \t\r\n\r\nhello", b"hello"),
        (CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (CHUNKED + b"0005\r\nhello\r\n00\r\n\r\n", b"hello"),
        (CHUNKED + b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"hello"),
        (CHUNKED + b'2;a=b;c="d;e"\r\nhe\r\n3;x\r\nllo\r\n0;last\r\n\r\n', b"hello"),
        (CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nContent-Type: x\r\n\r\n", b"hello"),
        (CHUNKED + b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        (CHUNKED + b"0\r\n\r\n", b""),
        (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", b"x"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", b""),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", b"x"),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", b""),
        (b"\r\n\r\n" + HELLO, b"hello"),
    ],
)
def test_a_response_ends_where_it_says(data: bytes, body: bytes, cut: fuzz.Cut) -> None:
    reading = read(cut(data))
    assert reading.response.body == body
    assert reading.is_reusable


@pytest.mark.parametrize(
    "data",
    [
        OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello",
        OK + b"Connection: Keep-Alive, Close\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ],
)
def test_some_responses_are_the_last(data: bytes, cut: fuzz.Cut) -> None:
    reading = read(cut(data))
    assert reading.response.body == b"hello"
    assert not reading.is_reusable


@pytest.mark.parametrize("head", [OK + b"\r\n", b"HTTP/1.0 404 No\r\nConnection: close\r\n\r\n"])
def test_without_a_length_the_end_of_the_connection_is_the_end(head: bytes, cut: fuzz.Cut) -> None:
    assert not read(cut(head + b"hello")).reader.is_complete
    reading = read(cut(head + b"hello"), ends=True)
    assert reading.response.body == b"hello"
    assert not reading.is_reusable
    assert read(cut(head), ends=True).response.body == b""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        OK + b"Content-Length: 5\r\n\r\n",
        OK + b"Content-Length: 5\r\n\r\nhell",
        CHUNKED,
        CHUNKED + b"5\r\nhello\r\n",
        CHUNKED + b"5\r\nhello\r\n0\r\n",
        OK + b"Transfer-Encoding: chunked, gzip\r\n\r\nhello",
        OK + b"Transfer-Encoding: gzip\r\n\r\nhello",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
    ],
)
def test_half_an_answer_is_none(data: bytes, cut: fuzz.Cut) -> None:
    reading = read(cut(data), ends=True)
    assert reading.error is None
    assert not reading.reader.is_complete


@pytest.mark.parametrize(
    "head",
    [
        HELLO.removesuffix(b"hello"),
        CHUNKED,
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 100000000000\r\n\r\n",
    ],
)
def test_a_head_is_answered_without_a_body(head: bytes, cut: fuzz.Cut) -> None:
    reading = read(cut(head), is_head=True)
    assert reading.response.body == b""
    assert reading.is_reusable


def test_the_length_of_what_was_not_sent_is_known() -> None:
    reading = read([OK + b"Content-Length: 4096\r\n\r\n"], is_head=True)
    assert reading.reader.length == 4096
    assert reading.response.header(b"content-length") == "4096"


def test_a_head_without_a_length_is_the_last(cut: fuzz.Cut) -> None:
    reading = read(cut(OK + b"\r\n"), is_head=True)
    assert reading.response.body == b""
    assert not reading.is_reusable


@pytest.mark.parametrize("behind", [b"hello", EMPTY, b"\0", b"HTTP/1.1 100 Continue\r\n\r\n"])
@pytest.mark.parametrize(
    ("data", "is_head"),
    [
        (HELLO, False),
        (HELLO.removesuffix(b"hello"), True),
        (CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", False),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", False),
        (EMPTY, False),
    ],
)
def test_more_than_one_answer_ends_the_connection(
    data: bytes, is_head: bool, behind: bytes, cut: fuzz.Cut
) -> None:
    alone = read([data], is_head=is_head)
    reading = read(cut(data + behind), is_head=is_head)
    assert reading.response == alone.response
    assert not reading.is_reusable


@pytest.mark.parametrize(
    "before",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Type: x/y\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 102 X\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 100\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 x\r\nA: b\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20,
    ],
)
def test_what_comes_before_the_answer_is_passed_over(before: bytes, cut: fuzz.Cut) -> None:
    reading = read(cut(before + HELLO))
    assert reading.response == Response(200, {b"content-length": b"5"}, b"hello")
    assert reading.is_reusable
    assert not read(cut(before)).reader.has_head
    assert read(cut(before + HELLO[:-5]), is_head=True).response.status == 200


@pytest.mark.parametrize(
    "data",
    [
        b"\0",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"GET / HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 -20 OK\r\n\r\n",
        b"HTTP/1.1 000 OK\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        OK + b"no colon\r\n\r\n",
        OK + b"X : a\r\n\r\n",
        OK + b": a\r\n\r\n",
        OK + b"X: a\0b\r\n\r\n",
        OK + b"X: a\r\n folded\r\n\r\n",
        OK + b"\xff: a\r\n\r\n",
        OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        OK + b"Content-Length: 5, 5\r\n\r\nhello",
        OK + b"Content-Length: +5\r\n\r\nhello",
        OK + b"Content-Length: -5\r\n\r\nhello",
        OK + b"Content-Length: 0x5\r\n\r\nhello",
        OK + b"Content-Length: 5 5\r\n\r\nhello",
        OK + b"Content-Length:\r\n\r\nhello",
        OK + b"Content-Length: five\r\n\r\nhello",
        OK + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n",
        OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"hello",
        CHUNKED + b"-5\r\nhello",
        CHUNKED + b"0x5\r\nhello",
        CHUNKED + b"5\r\nhelloX\r\n",
        CHUNKED + b"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n",
        CHUNKED + b"5\nhello\n0\n\n",
        CHUNKED + b"fffffffffffffffff\r\n",
    ],
)
def test_garbage_is_refused(data: bytes, cut: fuzz.Cut) -> None:
    reading = read(cut(data))
    assert reading.error
    assert not reading.reader.is_complete


def test_headers_are_what_they_say(cut: fuzz.Cut) -> None:
    data = (
        OK + b"Empty:\r\nBlank: \t \r\nOnce: a b\t \r\nX-TWICE: 1\r\nx-twice: 2\r\nNext:x:y\r\n"
        b"Name: h\xc3\xa9\xff\r\nContent-Length: 0\r\n\r\n"
    )
    parsed = read(cut(data)).response
    assert parsed.headers == {
        b"empty": b"",
        b"blank": b"",
        b"once": b"a b",
        b"x-twice": b"1,2",
        b"next": b"x:y",
        b"name": b"h\xc3\xa9\xff",
        b"content-length": b"0",
    }
    assert parsed.header(b"name") == "hé\ufffd"
    assert parsed.header(b"empty") == ""
    assert parsed.header(b"missing") is None


PIECE = 1000


@pytest.mark.parametrize(
    ("start", "again"),
    [
        (OK + b"X: ", b"a"),
        (OK, b"X-Header: value\r\n"),
        (OK, b"a:\r\n"),
        (b"HTTP/1.1 200 ", b"O"),
        (b"", b"\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n"),
        (CHUNKED + b"5;", b"x"),
        (CHUNKED + b"5\r\nhello\r\n5;", b"x"),
        (CHUNKED + b"5\r\nhello\r\n5", b"\r"),
        (CHUNKED + b"5\r\nhello\r\n0\r\n", b"X-Trailer: y\r\n"),
        (CHUNKED + b"5\r\nhello\r\n0\r\nX: ", b"y"),
        (CHUNKED, b"0"),
    ],
)
@pytest.mark.parametrize("size", [1, PIECE, 4 * HEAD_BYTES])
def test_nothing_but_the_body_goes_on_forever(start: bytes, again: bytes, size: int) -> None:
    piece = again * -(-size // len(again))
    fed = 0
    reader = ResponseReader()
    reader.begin(is_head=False, max_body_bytes=MOST)
    for data in [start] * bool(start) + [piece] * (2 * HEAD_BYTES):
        try:
            reader.feed(data)
        except MalformedResponseError:
            break
        fed += len(data)
    else:
        pytest.fail("it never ended")
    # What came before the piece that was refused was within the bound.
    assert fed <= HEAD_BYTES + len(start)


def test_the_largest_head_is_taken(cut: fuzz.Cut) -> None:
    frame = OK + b"X: \r\nContent-Length: 5\r\n\r\n"
    value = b"a" * (HEAD_BYTES - len(frame))
    head = frame.replace(b"X: ", b"X: " + value)
    assert len(head) == HEAD_BYTES
    assert read([*cut(head), b"hello"]).response.headers[b"x"] == value


@pytest.mark.parametrize("size", [MOST - 1, MOST, MOST + 1, 100_000_000_000])
def test_an_announced_body_is_refused_before_it_comes(size: int, cut: fuzz.Cut) -> None:
    reading = read(cut(OK + f"Content-Length: {size}\r\n\r\n".encode()))
    assert (reading.error is not None) == (size > MOST)


@pytest.mark.parametrize("framing", ["chunked", "until the end"])
@pytest.mark.parametrize("size", [MOST - 1, MOST, MOST + 1])
@pytest.mark.parametrize("any_length", [False, True])
def test_an_unannounced_body_is_refused_when_it_is_too_much(
    framing: str, size: int, any_length: bool, cut: fuzz.Cut
) -> None:
    body = b"x" * size
    if framing == "chunked":
        data = CHUNKED + f"{size:x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    else:
        data = OK + b"\r\n" + body
    reading = read(cut(data), ends=True, accepts_any_length=any_length)
    if size > MOST:
        assert reading.error
        assert not reading.reader.is_complete
        assert len(reading.reader.content) <= MOST
    else:
        assert reading.response.body == body


def test_where_any_length_is_taken_the_head_says_how_much() -> None:
    reading = read([OK + b"Content-Length: 5000\r\n\r\n", b"x" * 5000], accepts_any_length=True)
    assert reading.response.body == b"x" * 5000
    assert reading.is_reusable


@pytest.mark.parametrize("status", [b"300", b"404", b"500"])
def test_what_is_no_success_is_not_taken_at_any_length(status: bytes) -> None:
    head = b"HTTP/1.1 " + status + b" X\r\nContent-Length: 5000\r\n\r\n"
    assert read([head], accepts_any_length=True).error


def test_one_connection_carries_many_answers() -> None:
    reader = ResponseReader()
    bodies = [
        (False, HELLO, b"hello"),
        (True, OK + b"Content-Length: 7\r\n\r\n", b""),
        (False, CHUNKED + b"1\r\nx\r\n0\r\n\r\n", b"x"),
        (False, b"HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\n", b""),
        (False, b"HTTP/1.1 100 C\r\n\r\n" + EMPTY, b""),
        (True, b"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n", b""),
        (False, HELLO, b"hello"),
    ]
    for _ in range(3):
        for is_head, data, body in bodies:
            reader.begin(is_head=is_head, max_body_bytes=MOST)
            for piece in drip(data):
                reader.feed(piece)
            assert reader.is_complete
            assert reader.is_reusable
            assert reader.content == body


def test_bodies_are_whole_however_they_are_cut() -> None:
    body = random.Random(1).randbytes(300_000)
    data = OK + b"Content-Length: 300000\r\n\r\n" + body
    for size in (1000, 65_536, len(data)):
        pieces = [data[i : i + size] for i in range(0, len(data), size)]
        assert read(pieces, max_body_bytes=300_000).response.body == body


# Properties; the same law as tests.aws.fuzz holds for longer

responses = st.builds(
    lambda seed, mutations: fuzz.example(random.Random(seed), mutations),
    st.integers(0, 2**32),
    st.integers(0, 4),
)
modes = st.builds(
    fuzz.Mode,
    is_head=st.booleans(),
    max_body_bytes=st.sampled_from([0, 5, 1000]),
    any_length=st.booleans(),
)
cuts = st.lists(st.integers(0, 2000), max_size=12)


@given(data=responses | st.binary(max_size=300), mode=modes, at=cuts)
def test_any_bytes_in_any_pieces_keep_the_law(data: bytes, mode: fuzz.Mode, at: list[int]) -> None:
    fuzz.check(data, mode, at)


@given(data=responses, extra=st.binary(max_size=40), at=st.integers(0, 400), cut_at=cuts)
def test_bytes_in_the_midst_of_an_answer_keep_the_law(
    data: bytes, extra: bytes, at: int, cut_at: list[int]
) -> None:
    fuzz.check(data[:at] + extra + data[at:], fuzz.Mode(), cut_at)


@given(seed=st.integers(0, 2**32), at=cuts)
def test_what_is_valid_is_taken_whole(seed: int, at: list[int]) -> None:
    made = fuzz.valid(random.Random(seed))
    reading = read(
        fuzz.pieces(made.data, at),
        is_head=made.is_head,
        max_body_bytes=100_000,
        ends=made.ends_with_the_end,
    )
    assert reading.response.status == made.status
    assert reading.response.body == made.body


def test_every_cut_of_an_answer_in_two_gives_the_same() -> None:
    data = (
        b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + CHUNKED + b"5;a=b\r\nhello\r\n"
        b"1\r\n!\r\n0\r\nTrail: y\r\n\r\n"
    )
    for at in range(len(data) + 1):
        reading = read(piece for piece in (data[:at], data[at:]) if piece)
        assert reading.response.body == b"hello!"
        assert reading.is_reusable


def test_the_law_can_be_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def takes_all(self: ResponseReader) -> bool:
        self.is_complete = self.has_head
        return self.is_complete

    monkeypatch.setattr(ResponseReader, "end", takes_all)
    with pytest.raises(AssertionError):
        fuzz.check(HELLO[:-1], fuzz.Mode(), [])
