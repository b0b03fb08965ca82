"""Fuzzer of the response reader: throws bytes at it, and fails if it breaks its law.

    python -m tests.aws.fuzz --seconds 120
    python -m tests.aws.fuzz --runs 1000000 --seed 7

Where atheris is installed (``pip install '.[fuzz]'``) coverage guides the search, else it is a
random one. What breaks the law is printed with the seed, and ends the command with an error.
"""

import argparse
import http.client
import importlib.util
import io
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dispatcher.aws.http.response import HEAD_BYTES, MalformedResponseError, ResponseReader

Cut = Callable[[bytes], Sequence[bytes]]


@dataclass(frozen=True)
class Mode:
    """The request that a response belongs to."""

    is_head: bool = False
    max_body_bytes: int = 1000
    any_length: bool = False


@dataclass(frozen=True)
class Valid:
    """A response, and the values in it."""

    data: bytes
    status: int
    body: bytes
    is_head: bool
    ends_with_the_end: bool


def pieces(data: bytes, at: Iterable[int]) -> list[bytes]:
    """Cut data at some places; no piece is empty."""
    places = sorted({place for place in at if 0 < place < len(data)})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True) if a < b]


def read(cut: Sequence[bytes], mode: Mode) -> tuple[ResponseReader, bool]:
    """Read pieces and the end; return the reader, and whether it refused them."""
    reader = ResponseReader()
    reader.begin(
        is_head=mode.is_head, max_body_bytes=mode.max_body_bytes, accepts_any_length=mode.any_length
    )
    try:
        for piece in cut:
            reader.feed(piece)
    except MalformedResponseError:
        return reader, True
    before = reader.is_complete
    assert reader.end() == reader.is_complete
    assert reader.is_complete or not before
    assert not reader.is_reusable, "the connection has ended"
    return reader, False


def check(data: bytes, mode: Mode, at: Iterable[int]) -> None:
    """Hold the reader to its law on some bytes, cut at some places."""
    whole, was_refused = read([data] if data else [], mode)
    cut, cut_was_refused = read(pieces(data, at), mode)
    if len(data) <= HEAD_BYTES:  # a larger piece may hold a larger head
        assert whole.is_complete == cut.is_complete, "cut otherwise it says something else"
    if whole.is_complete and cut.is_complete:
        assert whole.response() == cut.response(), "cut otherwise it says something else"
    for reader, refused in ((whole, was_refused), (cut, cut_was_refused)):
        assert refused or len(reader.content) <= mode.max_body_bytes or mode.any_length
        if reader.is_complete:
            _check_complete(reader, mode)
    if whole.is_complete:
        _compare(whole, data, mode)


def _check_complete(reader: ResponseReader, mode: Mode) -> None:
    assert reader.has_head
    assert 200 <= reader.status <= 999
    if mode.is_head or reader.status in (204, 304):
        assert reader.content == b""
    elif reader.length is not None:
        assert len(reader.content) == reader.length


class _Plug(io.BytesIO):
    """A stand-in for the socket that http.client reads."""

    def makefile(self, *_arguments: object) -> io.BytesIO:
        return self


def _compare(reader: ResponseReader, data: bytes, mode: Mode) -> None:
    """Compare with the standard library's reader, where that takes the response too."""
    other = http.client.HTTPResponse(
        _Plug(data),  # type: ignore[arg-type] # all that it asks of a socket
        method="HEAD" if mode.is_head else "GET",
    )
    try:
        other.begin()
        body = other.read()
    except (http.client.HTTPException, ValueError, OverflowError):
        return
    if other.status < 200 or other.headers.get("transfer-encoding", "chunked").lower() != "chunked":
        return  # it takes 103 for the response, and knows no list of codings
    if other.status in (204, 304) and "transfer-encoding" in other.headers:
        return  # it reads a body where there is none (RFC 9112, 6.3)
    assert other.status == reader.status, "http.client reads another status"
    assert body == reader.content, "http.client reads another body"
    theirs: dict[bytes, bytes] = {}
    for name, value in other.headers.raw_items():
        key, text = name.lower().encode(), str(value).strip(" \t").encode("latin-1")
        theirs[key] = theirs[key] + b"," + text if key in theirs else text
    assert theirs == reader.headers, "http.client reads other headers"


# Examples

_HEADERS = (
    b"Content-Type: application/json\r\n",
    b"Empty:\r\n",
    b"x-amzn-SageMaker-OutputLocation: s3://b/k \t\r\n",
    b"X-Twice: 1\r\nx-twice:2\r\n",
    b"Connection: keep-alive\r\n",
    b"Server: \xc3\xa9\xff\r\n",
)
_BITS = (
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b";", b",", b"0", b"5", b"f", b"-", b"+",
    b"\r\n\r\n", b"0\r\n\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.0",
    b"Upgrade: h2c\r\n", b"Connection: upgrade\r\n", b"101", b"204", b"304", b"099", b"gzip, ",
    b"99999999999999999999", b"\xff", b" folded\r\n",
)  # fmt: skip


def valid(rng: random.Random) -> Valid:
    """Return a response that any client has to take."""
    body = rng.randbytes(rng.choice((0, 1, 5, 40)))
    is_head = rng.random() < 0.15
    status = rng.choice((200, 200, 202, 204, 206, 304, 400, 404, 500, 503))
    headers = b"".join(rng.sample(_HEADERS, rng.randrange(4)))
    before = b"".join(
        rng.choice((b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n"))
        for _ in range(rng.choice((0, 0, 0, 1, 3)))
    )
    has_body = not is_head and status not in (204, 304)
    framing = rng.choice(("length", "chunked", "end"))
    if framing == "length":
        headers += f"Content-Length: {len(body)}\r\n".encode()
        content = body
    elif framing == "chunked":
        headers += b"Transfer-Encoding: chunked\r\n"
        content = _chunked(body, rng)
    else:
        content = body
    start = rng.choice((b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0")) if framing == "end" else b"HTTP/1.1"
    head = b"%s %d Said\r\n%s\r\n" % (start, status, headers)
    return Valid(
        before + head + (content if has_body else b""),
        status,
        body if has_body else b"",
        is_head,
        framing == "end",
    )


def _chunked(body: bytes, rng: random.Random) -> bytes:
    said = b""
    while body:
        size = rng.randint(1, len(body))
        extension = rng.choice((b"", b"", b";a=b", b';c="d"'))
        said += b"%x%s\r\n%s\r\n" % (size, extension, body[:size])
        body = body[size:]
    return said + b"0\r\n" + rng.choice((b"", b"Trailer: x\r\n")) + b"\r\n"


def example(rng: random.Random, mutations: int) -> bytes:
    """Return responses with some things wrong with them."""
    data = b"".join(valid(rng).data for _ in range(rng.choice((1, 1, 1, 2))))
    for _ in range(mutations):
        at = rng.randrange(len(data) + 1)
        until = min(len(data), at + rng.choice((0, 1, 1, 3, 20)))
        bit = rng.choice((b"", rng.choice(_BITS), rng.choice(_BITS), rng.randbytes(1)))
        data = data[:at] + bit + data[until:]
    return data


# The command

_PREFIX = 6


def one_input(fuzzed: bytes) -> None:
    """Take the mode and the cuts from the first bytes, and check the rest."""
    flags, *at = fuzzed[:_PREFIX].ljust(_PREFIX, b"\0")
    mode = Mode(bool(flags & 1), (0, 5, 1000, 100_000)[flags >> 1 & 3], bool(flags & 8))
    places = at if flags & 16 else range(1, len(fuzzed), 1 + at[0])
    check(bytes(fuzzed[_PREFIX:]), mode, places)


def _fuzzed(rng: random.Random) -> bytes:
    return rng.randbytes(_PREFIX) + example(rng, rng.choice((0, 1, 2, 5)))


def search(seconds: float, runs: int | None, seed: int) -> int:
    """Search at random; return the number of executions."""
    rng, ends, done = random.Random(seed), time.monotonic() + seconds, 0
    while (runs is None or done < runs) and time.monotonic() < ends:
        data = _fuzzed(rng)
        try:
            one_input(data)
        except BaseException:
            print(f"breaks the law: {data!r}, seed {seed}")
            raise
        done += 1
    return done


def _guided(arguments: Sequence[str]) -> None:
    """Let libFuzzer search in this process, which it ends."""
    atheris: Any = importlib.import_module("atheris")
    atheris.instrument_func(one_input)
    for function in (read, check, _check_complete, _compare):
        globals()[function.__name__] = atheris.instrument_func(function)
    for name, method in list(vars(ResponseReader).items()):
        if callable(method):
            setattr(ResponseReader, name, atheris.instrument_func(method))
    for name in ("begin", "_read_status", "read", "_read_chunked", "_read_next_chunk_size"):
        method = getattr(http.client.HTTPResponse, name)
        setattr(http.client.HTTPResponse, name, atheris.instrument_func(method))
    atheris.Setup([sys.argv[0], *arguments], one_input)
    atheris.Fuzz()


def guided(seconds: float, runs: int | None, seed: int) -> int:
    """Search guided by coverage, in a process of its own; return its exit code."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for number in range(300):
            Path(corpus, str(number)).write_bytes(_fuzzed(rng))
        command = [sys.executable, "-m", "tests.aws.fuzz", "--inside", str(corpus)]
        command += [f"-seed={seed}", f"-max_total_time={max(1, int(seconds))}", "-max_len=4096"]
        command += [f"-artifact_prefix={folder}/", "-timeout=10", "-print_final_stats=1"]
        command += [] if runs is None else [f"-runs={runs}"]
        ended = subprocess.run(command, check=False)
        for artifact in Path(folder).glob("*-*"):
            print(f"breaks the law: {artifact.read_bytes()!r}")
    return ended.returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--runs", type=int, default=None)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--random", action="store_true", help="without atheris")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1, 2**31) if options.seed is None else options.seed
    if options.random or importlib.util.find_spec("atheris") is None:
        began = time.monotonic()
        done = search(options.seconds, options.runs, seed)
        print(f"{done:,} executions in {time.monotonic() - began:.0f} s, seed {seed}: all lawful")
        return 0
    code = guided(options.seconds, options.runs, seed)
    print(f"atheris ended with {code}, seed {seed}")
    return code


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        _guided(sys.argv[2:])
    sys.exit(main())
