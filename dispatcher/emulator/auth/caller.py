"""The caller and the service of a request, read from the signature's credential scope."""

import hashlib
import re
from dataclasses import dataclass

from dispatcher.emulator.http.blob import Blob
from dispatcher.emulator.http.message import HttpRequest

DENIED_KEY = "denied"
"""The access key id that may do nothing, for tests of access-denied handling."""

_SCOPE_PATTERN = r"([^/\s,]+)/(\d{8})/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request"
_AUTHORIZATION = re.compile(
    rf"AWS4-HMAC-SHA256\s+Credential={_SCOPE_PATTERN}"
    # Any lower-case header name: metadata may be called by each character of an HTTP token.
    r",\s*SignedHeaders=([!#$%&'*+.^_`|~0-9a-z;-]+),\s*Signature=([0-9a-f]{64})"
)
_SCOPE = re.compile(_SCOPE_PATTERN)
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(slots=True, frozen=True, kw_only=True)
class CallerIdentity:
    """The signer of a request, and what the signature claims to cover.

    Attributes:
        key: The access key id.
        date: Day of the credential scope, ``YYYYMMDD``.
        region: Region of the credential scope.
        service: The service that the signature is for: ``sagemaker``, ``s3``, ``sqs``, ``sns``.
        signed_headers: Names of the signed headers, separated by semicolons.
        signature: 64 hexadecimal digits.
        presigned: Whether the signature is in the query, as in a presigned URL.
    """

    key: str
    date: str
    region: str
    service: str
    signed_headers: str
    signature: str
    presigned: bool = False


def read_caller(request: HttpRequest) -> CallerIdentity | None:
    """Return the signer of a request, or None where it has no well-formed signature.

    The signature itself is not checked here: see ``verification``.
    """
    header = request.headers.get("authorization")
    if header is not None:
        m = _AUTHORIZATION.fullmatch(header)
        return (
            CallerIdentity(
                key=m[1], date=m[2], region=m[3], service=m[4], signed_headers=m[5], signature=m[6]
            )
            if m
            else None
        )
    if "X-Amz-Credential=" not in request.target:
        return None
    query = request.query
    scope = _SCOPE.fullmatch(query.get("X-Amz-Credential", ""))
    signature = query.get("X-Amz-Signature", "")
    if scope is None or not _SHA256.fullmatch(signature):
        return None
    names = query.get("X-Amz-SignedHeaders", "")
    return CallerIdentity(
        key=scope[1],
        date=scope[2],
        region=scope[3],
        service=scope[4],
        signed_headers=names,
        signature=signature,
        presigned=True,
    )


def sha256_of(body: Blob) -> str:
    """Return the SHA-256 of a body in hexadecimal."""
    digest = hashlib.sha256()
    for block in body.blocks():
        digest.update(block)
    return digest.hexdigest()


def is_signed_body(request: HttpRequest) -> bool:
    """Return whether the body has the SHA-256 that the request names, if it names one."""
    named = request.headers.get("x-amz-content-sha256", "")
    return not _SHA256.fullmatch(named) or sha256_of(request.body) == named


def meant_service(request: HttpRequest) -> str | None:
    """Return the service whose protocol a request speaks, or None where that is not certain.

    A request like a POST of S3 could also be one of another service with a mistake in it.
    """
    if request.method != "POST":
        return "s3"
    target = request.headers.get("x-amz-target", "")
    if target.startswith("AmazonSQS."):
        return "sqs"
    if target.startswith("SageMaker."):
        return "sagemaker"
    # Each POST of S3 has a query.
    if request.target.startswith("/endpoints/") and "?" not in request.target:
        return "sagemaker"
    if request.target == "/" and request.headers.get("content-type", "").startswith(
        "application/x-www-form-urlencoded"
    ):
        return "sns"
    return None
