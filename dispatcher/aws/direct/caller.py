"""Signed calls to one service at one address, with its errors mapped to ours."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from dispatcher.aws.direct.address import Address
from dispatcher.aws.direct.clock_skew import ClockSkew
from dispatcher.aws.direct.credentials import SigningCredentials
from dispatcher.aws.direct.request import Request, UnsafeHeaderError, signed_head
from dispatcher.aws.direct.sigv4 import Keys, Signer
from dispatcher.aws.error_mapping import by_code, is_clock_error, no_response, not_sent
from dispatcher.aws.http.connection import Connection, ExchangeError
from dispatcher.aws.http.dialer import DialError
from dispatcher.aws.http.pool import Pool
from dispatcher.aws.http.response import Response
from dispatcher.errors import CallError, Denied, DispatcherError, Rejected, Transient

ERROR_BYTES = 1_000_000
"""Longest response that is not content: errors and acknowledgements."""

_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})


def _user_agent() -> str:
    try:
        return f"sagemaker-async-dispatcher/{version('sagemaker-async-dispatcher')}"
    except PackageNotFoundError:  # run from a source tree
        return "sagemaker-async-dispatcher"


_UNSIGNED = f"user-agent:{_user_agent()}\r\n"


@dataclass(slots=True)
class CallPurpose:
    """Purpose of a call, for messages and error mapping.

    Attributes:
        action: For messages: "invoking endpoint churn".
        repeatable: It may be sent twice without harm, so no response counts as not sent.
        reading: An object is asked for, which may not be there.
    """

    action: str
    repeatable: bool = True
    reading: bool = False


class Caller:
    """Calls one service at one address.

    All calls raise ``Throttled``, ``Transient``, ``OutcomeUnknown``, ``Rejected``, ``NotThere`` or
    ``Denied``.

    Args:
        address: Its address and signing scope.
        base: Prefix of the path of each request, percent-encoded.
        pool: Connections to it.
        credentials: Credentials that requests are signed with.
        clock: Clock that requests are signed by.
        read_error: Returns code and message of an error response.

    Attributes:
        is_encrypted: Calls go over TLS.
    """

    def __init__(
        self,
        address: Address,
        *,
        base: str,
        pool: Pool,
        credentials: SigningCredentials,
        clock: ClockSkew,
        read_error: Callable[[Response], tuple[str, str]],
    ) -> None:
        self._signer = Signer(address.service, address.region)
        self._authority = address.authority
        self._base = base
        self.is_encrypted = address.scheme == "https"
        self._pool = pool
        self._credentials = credentials
        self._clock = clock
        self._read_error = read_error

    async def call(
        self,
        request: Request,
        purpose: CallPurpose,
        *,
        max_body_bytes: int = ERROR_BYTES,
        is_ours: Callable[[Response], bool] | None = None,
    ) -> Response:
        """Send a request and return its response, a success.

        Args:
            request: The request.
            purpose: Its purpose.
            max_body_bytes: Longest body of the response.
            is_ours: Returns whether a success belongs to this very request; where it does not, the
                call has got no response, and its connection is closed.
        """
        head = self._head(
            request, self._credentials.keys() or await self._credentials.renew(), purpose
        )
        pool, offset = self._pool, self._clock.offset
        try:
            connection = pool.acquire_idle() or await pool.acquire()
            try:
                reader = await connection.exchange(
                    head,
                    request.body,
                    is_head=request.template.method == "HEAD",
                    max_body_bytes=max_body_bytes,
                )
                response = reader.response()
                if is_ours is not None and response.status < 300 and not is_ours(response):
                    connection.abort()
                    raise ExchangeError("the response is to another request", is_sent=True)
            finally:
                pool.release(connection)
        except (DialError, ExchangeError) as error:
            raise _exchange_error(error, purpose) from error
        if not 200 <= response.status < 300:
            raise self._error(response, purpose, offset)
        return response

    async def fetch(self, request: Request, purpose: CallPurpose) -> "DeferredResponse":
        """Send a request without a body and return its response, a success, with its head read.

        The caller has to ``close`` it.
        """
        head = self._head(
            request, self._credentials.keys() or await self._credentials.renew(), purpose
        )
        offset = self._clock.offset
        try:
            connection = self._pool.acquire_idle() or await self._pool.acquire()
            deferred = DeferredResponse(self._pool, connection, purpose)
            try:
                await deferred.begin(head)
            except BaseException:
                deferred.close()
                raise
        except (DialError, ExchangeError) as error:
            raise _exchange_error(error, purpose) from error
        if deferred.response is not None and not 200 <= deferred.response.status < 300:
            raise self._error(deferred.response, purpose, offset)
        return deferred

    def _head(self, request: Request, keys: Keys, purpose: CallPurpose) -> bytes:
        try:
            return signed_head(
                request,
                authority=self._authority,
                base=self._base,
                signer=self._signer,
                keys=keys,
                now=self._clock.now(),
                unsigned=_UNSIGNED,
            )
        except UnsafeHeaderError as error:
            raise Rejected(f"{purpose.action}: {error}", code="ParamValidation") from None

    def _error(self, response: Response, purpose: CallPurpose, offset: float) -> DispatcherError:
        """Return the error of a response to a request signed with the clock's ``offset``."""
        code, message = self._read_error(response)
        # The response to a HEAD has no code; a wrong clock is then a likely reason. Of many calls
        # that were under way, the first corrects it, and all may be repeated.
        if (is_clock_error(code, message) or code == "403") and (
            self._clock.learn(response.header(b"date")) or self._clock.offset != offset
        ):
            return Transient(
                f"the clock was wrong while {purpose.action}, and is corrected", code=code
            )
        if code in _EXPIRED:
            self._credentials.expire()
        return by_code(
            code, response.status, message, action=purpose.action, reading=purpose.reading
        )


class DeferredResponse:
    """Response whose head is read, and whose long body is read on demand.

    A short body is read along with the head, and its connection released.

    Attributes:
        size: Length of its body in bytes.
        headers: By lower-case name.
        response: All of it, once it is read.
    """

    def __init__(self, pool: Pool, connection: Connection, purpose: CallPurpose) -> None:
        self._pool = pool
        self._connection: Connection | None = connection
        self._purpose = purpose
        self.size = 0
        self.headers: dict[bytes, bytes] = {}
        self.response: Response | None = None

    async def begin(self, head: bytes) -> None:
        """Send the request; read the head of its response, and a short or error body."""
        assert self._connection is not None, "closed"
        reader = await self._connection.exchange(
            head, b"", is_head=False, max_body_bytes=ERROR_BYTES, wants_body=False
        )
        self.size, self.headers = reader.length or 0, reader.headers
        if reader.is_complete or not 200 <= reader.status < 300:
            await self._finish(self._connection)

    async def read(self) -> Response:
        """Return all of it.

        Raises:
            Transient: It broke off.
        """
        if self.response is None:
            assert self._connection is not None, "closed"
            try:
                await self._finish(self._connection)
            except ExchangeError as error:
                raise _exchange_error(error, self._purpose) from error
        assert self.response is not None
        return self.response

    async def _finish(self, connection: Connection) -> None:
        self.response = (await connection.finish()).response()
        self.size = len(self.response.body)
        self.close()

    def close(self) -> None:
        """Release the connection; harmless when repeated."""
        if self._connection is not None:
            self._pool.release(self._connection)
            self._connection = None


def _exchange_error(error: DialError | ExchangeError, purpose: CallPurpose) -> CallError | Denied:
    if isinstance(error, DialError) or not error.is_sent:
        return not_sent(error, purpose.action)
    return no_response(error, purpose.action, repeatable=purpose.repeatable)
