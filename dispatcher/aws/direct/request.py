"""Signed requests: their templates, their parts and their head. Pure."""

import hashlib
import re
from dataclasses import dataclass, field

from dispatcher.aws.direct.sigv4 import Keys, Signer, canonical_path

EMPTY_SHA256 = hashlib.sha256().hexdigest()

_BLANKS = re.compile(" {2,}")


class UnsafeHeaderError(ValueError):
    """A value would end its header line and begin another one."""


@dataclass(slots=True, frozen=True)
class RequestTemplate:
    """Method and sorted names of the signed headers of one kind of request.

    Every request has ``host`` and ``x-amz-date``, and maybe ``x-amz-security-token``; the names
    are those around them.

    Attributes:
        method: The HTTP method.
        before: Names before ``host``, each with ``;`` behind it.
        between: Names between ``host`` and ``x-amz-date``, each with ``;`` behind it.
        after: Names after ``x-amz-security-token``, each with ``;`` before it.
        headers: Number of headers, without the token.
    """

    method: str
    before: str = ""
    between: str = ""
    after: str = ""
    headers: int = field(init=False)

    def __post_init__(self) -> None:
        """Count the names once."""
        names = self.before + self.between + self.after
        object.__setattr__(self, "headers", names.count(";") + 2)


@dataclass(slots=True)
class Request:
    r"""Parts of a request that differ between requests.

    Attributes:
        template: Its method and the names of its headers.
        path: The path below that of the address, percent-encoded; empty for that path itself.
        query: The query, percent-encoded, its parameters sorted.
        before, between, after: The headers of these names, each as ``name:value\n``, the values
            canonical but for ``has_blanks``.
        body: The body.
        payload_hash: SHA-256 of the body in hexadecimal digits, or ``UNSIGNED_PAYLOAD``.
        has_blanks: A value may hold a run of blanks, of which only one is signed.
    """

    template: RequestTemplate
    path: str
    query: str = ""
    before: str = ""
    between: str = ""
    after: str = ""
    body: bytes = b""
    payload_hash: str = EMPTY_SHA256
    has_blanks: bool = False


def signed_head(
    request: Request,
    *,
    authority: str,
    base: str,
    signer: Signer,
    keys: Keys,
    now: float,
    unsigned: str = "",
) -> bytes:
    r"""Return the request line and the headers of a signed request, with the empty line.

    The signed lines are the sent lines, so that both are only written once. The exception is a run
    of blanks, as the name of an object may have one: a single blank is signed.

    Args:
        request: The request.
        authority: Value of the Host header.
        base: Prefix of the request's path, percent-encoded.
        signer: Signer of the service and region.
        keys: Keys of the signature.
        now: Time of the signature, in epoch seconds.
        unsigned: Further headers, each as ``name:value\r\n``.

    Raises:
        UnsafeHeaderError: A value holds a line break.
    """
    template, stamp, token = request.template, signer.stamp(now), keys.session_token
    token_line = f"x-amz-security-token:{token}\n" if token else ""
    token_name = ";x-amz-security-token" if token else ""
    names = f"{template.before}host;{template.between}x-amz-date{token_name}{template.after}"
    lines = (
        f"{request.before}host:{authority}\n{request.between}x-amz-date:{stamp}\n"
        f"{token_line}{request.after}"
    )
    sent = lines.replace("\n", "\r\n")
    is_one_each = len(sent) - len(lines) == template.headers + bool(token)
    if not is_one_each or "\r" in lines or "\0" in lines:
        raise UnsafeHeaderError("a header of the request holds a line break")
    target = (base + request.path) or "/"
    path = canonical_path(target, signer.service)
    authorization = signer.authorization(
        template.method,
        path,
        request.query,
        lines=_BLANKS.sub(" ", lines) if request.has_blanks else lines,
        names=names,
        payload_hash=request.payload_hash,
        keys=keys,
        stamp=stamp,
    )
    if request.query:
        target = f"{target}?{request.query}"
    return (
        f"{template.method} {target} HTTP/1.1\r\n{sent}authorization:{authorization}\r\n{unsigned}"
        f"content-length:{len(request.body)}\r\n\r\n"
    ).encode()
