"""One address of one service: signs requests, sends them, and makes what goes wrong ours."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from dispatcher.aws.direct.address import Address
from dispatcher.aws.direct.clock_skew import ClockSkew
from dispatcher.aws.direct.credentials import SigningCredentials
from dispatcher.aws.direct.request import Request, UnsafeHeaderError, signed_head
from dispatcher.aws.direct.sigv4 import Keys, Signer
from dispatcher.aws.error_mapping import by_code, is_about_the_clock, lost, not_sent
from dispatcher.aws.http.connection import Connection, ExchangeError
from dispatcher.aws.http.dialer import DialError
from dispatcher.aws.http.pool import Pool
from dispatcher.aws.http.response import Response
from dispatcher.errors import CallError, Denied, DispatcherError, Rejected, Transient

ERROR_BYTES = 1_000_000
"""Most bytes of an answer that is not content: refusals and acknowledgements."""

_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})


def _user_agent() -> str:
    try:
        return f"sagemaker-async-dispatcher/{version('sagemaker-async-dispatcher')}"
    except PackageNotFoundError:  # run from a source tree
        return "sagemaker-async-dispatcher"


_UNSIGNED = f"user-agent:{_user_agent()}\r\n"


@dataclass(slots=True)
class Doing:
    """What a call is for.

    Attributes:
        what: For messages: "invoking endpoint churn".
        repeatable: It may be sent twice without harm, so no answer is as good as not sent.
        reading: An object is asked for, which may not be there.
    """

    what: str
    repeatable: bool = True
    reading: bool = False


class Caller:
    """Calls one service at one address.

    All calls raise ``Throttled``, ``Transient``, ``OutcomeUnknown``, ``Rejected``, ``NotThere`` or
    ``Denied``.

    Args:
        address: Where it is, and how it is signed for.
        base: What stands before the path of each request, percent-encoded.
        pool: Connections to there.
        keyring: Whose signature it is.
        clock: When it is.
        read_refusal: Returns the code and the message of an answer that is no success.

    Attributes:
        is_encrypted: Calls go over TLS.
    """

    def __init__(
        self,
        address: Address,
        *,
        base: str,
        pool: Pool,
        keyring: SigningCredentials,
        clock: ClockSkew,
        read_refusal: Callable[[Response], tuple[str, str]],
    ) -> None:
        self._signer = Signer(address.service, address.region)
        self._authority = address.authority
        self._base = base
        self.is_encrypted = address.scheme == "https"
        self._pool = pool
        self._keyring = keyring
        self._clock = clock
        self._read_refusal = read_refusal

    async def call(
        self,
        request: Request,
        doing: Doing,
        *,
        max_body_bytes: int = ERROR_BYTES,
        is_ours: Callable[[Response], bool] | None = None,
    ) -> Response:
        """Send a request and return its answer, a success.

        Args:
            request: What to send.
            doing: What for.
            max_body_bytes: Most bytes of the answer.
            is_ours: Tells whether a success is the answer to this very request; where it is not,
                none has come, and its connection is closed.
        """
        head = self._head(request, self._keyring.keys() or await self._keyring.renew(), doing)
        pool, offset = self._pool, self._clock.offset
        try:
            connection = pool.acquire_idle() or await pool.acquire()
            try:
                reader = await connection.exchange(
                    head,
                    request.body,
                    is_head=request.form.method == "HEAD",
                    max_body_bytes=max_body_bytes,
                )
                answer = reader.response()
                if is_ours is not None and answer.status < 300 and not is_ours(answer):
                    connection.abort()
                    raise ExchangeError("the answer is to another request", is_sent=True)
            finally:
                pool.release(connection)
        except (DialError, ExchangeError) as error:
            raise _broken(error, doing) from error
        if not 200 <= answer.status < 300:
            raise self._refusal(answer, doing, offset)
        return answer

    async def fetch(self, request: Request, doing: Doing) -> "Fetched":
        """Send a request without a body and return its answer, a success, with its head read.

        The caller has to ``close`` it.
        """
        head = self._head(request, self._keyring.keys() or await self._keyring.renew(), doing)
        offset = self._clock.offset
        try:
            connection = self._pool.acquire_idle() or await self._pool.acquire()
            fetched = Fetched(self._pool, connection, doing)
            try:
                await fetched.begin(head)
            except BaseException:
                fetched.close()
                raise
        except (DialError, ExchangeError) as error:
            raise _broken(error, doing) from error
        if fetched.answer is not None and not 200 <= fetched.answer.status < 300:
            raise self._refusal(fetched.answer, doing, offset)
        return fetched

    def _head(self, request: Request, keys: Keys, doing: Doing) -> bytes:
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
            raise Rejected(f"{doing.what}: {error}", code="ParamValidation") from None

    def _refusal(self, answer: Response, doing: Doing, offset: float) -> DispatcherError:
        """Return the error for an answer to what was signed with the clock's ``offset``."""
        code, message = self._read_refusal(answer)
        # A HEAD is refused without a word; a clock that is off is then a likely reason. Of many
        # calls that were under way, the first corrects it, and all may be repeated.
        if (is_about_the_clock(code, message) or code == "403") and (
            self._clock.learn(answer.header(b"date")) or self._clock.offset != offset
        ):
            return Transient(f"the clock was wrong while {doing.what}, and is corrected", code=code)
        if code in _EXPIRED:
            self._keyring.refused()
        return by_code(code, answer.status, message, doing=doing.what, reading=doing.reading)


class Fetched:
    """An answer whose head is read, and of which the body is read when it is asked for.

    A short one is there already, and its connection given back.

    Attributes:
        size: Bytes of its body.
        headers: By lower-case name.
        answer: All of it, once it is read.
    """

    def __init__(self, pool: Pool, connection: Connection, doing: Doing) -> None:
        self._pool = pool
        self._connection: Connection | None = connection
        self._doing = doing
        self.size = 0
        self.headers: dict[bytes, bytes] = {}
        self.answer: Response | None = None

    async def begin(self, head: bytes) -> None:
        """Send the request; read the head of its answer, and a short body or a refusal."""
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
        if self.answer is None:
            assert self._connection is not None, "closed"
            try:
                await self._finish(self._connection)
            except ExchangeError as error:
                raise _broken(error, self._doing) from error
        assert self.answer is not None
        return self.answer

    async def _finish(self, connection: Connection) -> None:
        self.answer = (await connection.finish()).response()
        self.size = len(self.answer.body)
        self.close()

    def close(self) -> None:
        """Give the connection back; harmless when repeated."""
        if self._connection is not None:
            self._pool.release(self._connection)
            self._connection = None


def _broken(error: DialError | ExchangeError, doing: Doing) -> CallError | Denied:
    if isinstance(error, DialError) or not error.is_sent:
        return not_sent(error, doing.what)
    return lost(error, doing.what, repeatable=doing.repeatable)
