"""The aws-chunked framing that SDKs put around S3 uploads to add checksums or signatures."""

_TRAILER_BYTES = 16 * 1024
_CHUNK_HEAD_BYTES = 1024


class AwsChunkedDecoder:
    """Decodes chunks of ``<hex size>[;chunk-signature=...]``, a line break, data, a line break.

    The last chunk has size 0; trailers and an empty line may follow. No byte is looked at twice,
    however the input is cut. Signatures of chunks are not checked.
    """

    def __init__(self) -> None:
        self.trailers: dict[str, str] = {}
        self._line = b""
        self._left = 0
        self._state = "size"

    def feed(self, data: bytes) -> list[bytes]:
        """Return the content in ``data``, in order.

        Raises:
            ValueError: A chunk's size is not a hexadecimal number, or a chunk does not end where
                its size says.
        """
        content: list[bytes] = []
        at = 0
        while at < len(data):
            if self._state == "data":
                piece = data[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                content.append(piece)
                if not self._left:
                    self._state = "end"
                continue
            if self._state == "done":
                raise ValueError("bytes follow the last chunk")
            newline = data.find(b"\n", at)
            stop = len(data) if newline < 0 else newline + 1
            self._line += data[at:stop]
            at = stop
            if len(self._line) > _TRAILER_BYTES:
                raise ValueError("a line of the aws-chunked framing is too long")
            if newline >= 0:
                line, self._line = self._line.rstrip(b"\r\n"), b""
                self._take(line)
        return content

    def _take(self, line: bytes) -> None:
        if self._state == "end":
            if line:
                raise ValueError("a chunk is longer than its size says")
            self._state = "size"
        elif self._state == "size":
            digits = line.partition(b";")[0].strip()
            if (
                not digits
                or len(line) > _CHUNK_HEAD_BYTES
                or digits.strip(b"0123456789abcdefABCDEF")
            ):
                raise ValueError("a chunk does not begin with its size")
            self._left = int(digits, 16)
            self._state = "data" if self._left else "trailer"
        elif line:
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon:
                raise ValueError("a trailer is not a header")
            self.trailers[name.strip(" \t").lower()] = value.strip(" \t")
        else:
            self._state = "done"

    def finish(self) -> None:
        """Check that the last chunk has come.

        Raises:
            ValueError: The body ends early.
        """
        # Some clients leave out the empty line behind the last chunk or trailer.
        if self._state not in {"done", "trailer"} or self._line:
            raise ValueError("the body ends before its last chunk")


def decoder_for(headers: dict[str, str]) -> AwsChunkedDecoder | None:
    """Return a decoder where the headers say that the body is aws-chunked."""
    if headers.get("x-amz-content-sha256", "").startswith("STREAMING-"):
        return AwsChunkedDecoder()
    return None
