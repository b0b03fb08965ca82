"""HTTP messages: request, response, refusal, and the handler between them."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol, TypeAlias
from urllib.parse import parse_qsl, unquote

from dispatcher.emulator.http.blob import Blob

_STATUS_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n" for s in HTTPStatus}


@dataclass(slots=True)
class HttpRequest:
    """One complete request.

    Attributes:
        method: ``GET``, ``POST``...
        target: Path and query as sent, percent-encoded.
        headers: By lower-case name; values of repeated headers are joined by a comma.
        body: The body, with transfer and aws-chunked framing removed.
        keep_alive: Whether the connection stays open afterwards.
        fault: The mistake in the body's framing; empty where there is none.
        trailers: Headers behind the body inside its framing; no signature covers them.
    """

    method: str
    target: str
    headers: dict[str, str]
    body: Blob
    keep_alive: bool = True
    fault: str = ""
    trailers: dict[str, str] = field(default_factory=dict)

    @property
    def raw_path(self) -> str:
        """The path as sent."""
        return self.target.partition("?")[0]

    @property
    def path(self) -> str:
        """The path with percent-encoding removed."""
        return unquote(self.raw_path)

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters; one without a value maps to an empty text."""
        raw = self.target.partition("?")[2]
        return dict(parse_qsl(raw, keep_blank_values=True)) if raw else {}


@dataclass(slots=True)
class Slice:
    """A part of a blob that is sent as a body: bytes ``start`` up to ``stop``."""

    blob: Blob
    start: int
    stop: int


@dataclass(slots=True)
class HttpResponse:
    """One response; ``Date`` and ``Content-Length`` are added when it is sent."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | Slice = b""

    @property
    def size(self) -> int:
        """Length of the body in bytes."""
        if isinstance(self.body, bytes):
            return len(self.body)
        return self.body.stop - self.body.start

    def head(self, *, keep_alive: bool, date: str) -> bytes:
        """Return the status line and all headers as they go over the wire."""
        lines = [_STATUS_LINES[self.status], f"Date: {date}\r\n"]
        lines += [f"{name}: {value}\r\n" for name, value in self.headers.items()]
        if self.status != HTTPStatus.NO_CONTENT:
            lines.append(f"Content-Length: {self.size}\r\n")
        if not keep_alive:
            lines.append("Connection: close\r\n")
        lines.append("\r\n")
        # Metadata that a client stored as latin-1 goes back as it came.
        return "".join(lines).encode("latin-1", "replace")


@dataclass(slots=True, frozen=True)
class Reset:
    """A reset of the connection, in place of a response."""


class Refusal(Exception):
    """A refusal by a service, before it has the service's own shape.

    Attributes:
        status: HTTP status.
        code: The error code that SDKs map to an exception.
        message: A sentence for people; None where the real service sends null.
        details: Further elements of S3's error document.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str | None,
        details: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details or {}


def whole_number(text: str) -> int | None:
    """Return the value of a text of ASCII digits, or None for any other text.

    No service takes a number of more than 18 digits, and Python refuses to read thousands.
    """
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else None


ServiceResponse: TypeAlias = HttpResponse | Awaitable[HttpResponse]
"""The response of a service: at once where possible, as a task costs more than most calls."""

Reply: TypeAlias = HttpResponse | Reset
"""The end of a request for its client."""

Handler: TypeAlias = Callable[[HttpRequest], HttpResponse | Awaitable[Reply]]


class BodyDecoder(Protocol):
    """Removes a framing inside the body, such as aws-chunked."""

    @property
    def trailers(self) -> dict[str, str]:
        """Headers that came after the body; complete after ``finish``."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the content in ``data``; raises ValueError where the framing is wrong."""

    def finish(self) -> None:
        """Check that the body is complete; raises ValueError where it is not."""


DecoderFor: TypeAlias = Callable[[dict[str, str]], BodyDecoder | None]
"""Chooses the decoder of a body by the request's headers."""
