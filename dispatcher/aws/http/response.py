"""Response parser for the bytes of one connection. Pure: no socket, no clock.

For any bytes, ``feed`` either goes on or raises ``MalformedResponseError``; a connection is
used again only after a response that ended where it said it would.
"""

import io
from dataclasses import dataclass

import httptools

HEAD_BYTES = 65_536
"""Most bytes of a response besides its body: status line, headers, framing between content."""

_SWITCHING = 101
_NO_BODY = (204, 304)


class MalformedResponseError(Exception):
    """The bytes are not HTTP, or more than the limit."""


@dataclass(slots=True)
class Response:
    """One whole response.

    Attributes:
        status: HTTP status.
        headers: By lower-case name; values of repeated headers are joined by a comma.
        body: The content, without its transfer framing.
    """

    status: int
    headers: dict[bytes, bytes]
    body: bytes

    def header(self, name: bytes) -> str | None:
        """Return a header by its lower-case name, or None."""
        value = self.headers.get(name)
        return None if value is None else value.decode("utf-8", "replace")


class ResponseReader:
    """Reader of the responses of a connection, one after the other.

    Attributes:
        status: HTTP status, once ``has_head``.
        headers: By lower-case name, once ``has_head``.
        length: Content-Length, or None where the response has none; once ``has_head``.
        has_head: The head is read.
        is_complete: The whole response is read.
        is_reusable: The connection may carry another request once ``is_complete``.
    """

    __slots__ = (
        "_accepts_any_length",
        "_body",
        "_first_piece",
        "_framing_bytes",
        "_is_head",
        "_max_body_bytes",
        "_parser",
        "_size",
        "has_head",
        "headers",
        "is_complete",
        "is_reusable",
        "length",
        "status",
    )

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.is_reusable = True
        self.begin(is_head=False, max_body_bytes=0)

    def begin(
        self, *, is_head: bool, max_body_bytes: int, accepts_any_length: bool = False
    ) -> None:
        """Expect the response to a request.

        Args:
            is_head: The request was a HEAD, whose response has no body whatever its headers say.
            max_body_bytes: Longest body.
            accepts_any_length: The body of a success may be longer where the head gives its length.
        """
        self._is_head = is_head
        self._max_body_bytes = max_body_bytes
        self._accepts_any_length = accepts_any_length
        self._restart()

    def _restart(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.length: int | None = None
        self.has_head = False
        self.is_complete = False
        self._first_piece = b""
        self._body: io.BytesIO | None = None
        self._size = 0
        self._framing_bytes = 0

    def feed(self, data: bytes) -> None:
        """Parse the next bytes.

        Raises:
            MalformedResponseError: It is no response, or too large; the connection is unusable.
        """
        if self.is_complete:
            raise MalformedResponseError("bytes came that no request asked for")
        self._framing_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise MalformedResponseError("the server wants to speak another protocol") from None
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, MalformedResponseError):
                raise error.__context__ from None
            # After the response to a HEAD the parser waits for a body, so any bytes are garbage.
            raise MalformedResponseError(f"the response is not HTTP: {error}") from None
        if self._framing_bytes > HEAD_BYTES:
            raise MalformedResponseError(f"more than {HEAD_BYTES:,} bytes of headers or framing")

    def end(self) -> bool:
        """Note that the server has closed its side; return whether that completes the response."""
        self.is_reusable = False
        if self.has_head and not self.is_complete and self._ends_at_close():
            self.is_complete = True
        return self.is_complete

    @property
    def content(self) -> bytes:
        """The body as far as it is read."""
        return self._first_piece if self._body is None else self._body.getvalue()

    def response(self) -> Response:
        """Return the response, which ``is_complete``."""
        return Response(self.status, self.headers, self.content)

    def _ends_at_close(self) -> bool:
        return self.length is None and b"transfer-encoding" not in self.headers

    # httptools callbacks

    def on_message_begin(self) -> None:
        """Refuse a second response to one request; called by the parser."""
        if self.is_complete:
            raise MalformedResponseError("a response came that no request asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header; called by the parser."""
        if self.has_head:
            return  # a trailer
        name, value = name.lower(), value.rstrip(b" \t")
        if name in self.headers:
            value = self.headers[name] + b"," + value
        self.headers[name] = value

    def on_headers_complete(self) -> None:
        """Read status and length; called by the parser."""
        parser = self._parser
        self.status = status = parser.get_status_code()
        if status < 200:
            if status == _SWITCHING:
                raise MalformedResponseError("the server wants to speak another protocol")
            if status < 100:
                raise MalformedResponseError("the response has no valid status")
            return
        self.has_head = True
        length = self.headers.get(b"content-length")
        if length is not None:
            if not length.isdigit():
                raise MalformedResponseError("the response has no valid length")
            self.length = int(length)
        if self._is_head or status in _NO_BODY:
            self._complete()
            # The parser would take the next bytes for a body.
            self._parser = httptools.HttpResponseParser(self)
        elif self.length is not None and self.length > self._max_body_bytes:
            if not self._accepts_any_length or status >= 300:
                raise MalformedResponseError(
                    f"a response of {self.length:,} bytes, of {self._max_body_bytes:,} at most"
                )
            self._max_body_bytes = self.length

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body; called by the parser."""
        if self.is_complete:
            self.is_reusable = False  # a body in the response to a HEAD
            return
        self._framing_bytes = 0
        self._size += len(body)
        if self._size > self._max_body_bytes:
            raise MalformedResponseError(f"a response of more than {self._max_body_bytes:,} bytes")
        if self._body is not None:
            self._body.write(body)
        elif not self._first_piece:
            self._first_piece = body
        else:
            # getvalue() hands out the buffer itself, so the body is in memory once.
            self._body = io.BytesIO()
            self._body.write(self._first_piece)
            self._body.write(body)
            self._first_piece = b""

    def on_message_complete(self) -> None:
        """Note that the response is whole; called by the parser."""
        if self.status < 200:
            framing_bytes = self._framing_bytes
            self._restart()  # 100 Continue and its like: the response follows
            self._framing_bytes = framing_bytes
        elif not self.is_complete:
            self._complete()

    def _complete(self) -> None:
        self.is_complete = True
        self.is_reusable = self.is_reusable and self._parser.should_keep_alive()
