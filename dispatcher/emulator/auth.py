"""Who calls, and which service: read from the signature's credential scope."""

import hashlib
import re
from dataclasses import dataclass
from urllib.parse import unquote

from dispatcher.emulator.http import Request

DENIED_KEY = "denied"
"""The access key id that may do nothing, for tests of access-denied handling."""

WRONG_SIGNATURE = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method."
)
"""The message of all services for a body that is not the one that was signed."""

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=([^/\s,]+)/\d{8}/[a-z0-9-]+/([a-z0-9-]+)/aws4_request"
    r",\s*SignedHeaders=[a-z0-9;._-]+,\s*Signature=[0-9a-f]{64}"
)
_PRESIGNED = re.compile(r"(?:^|[?&])X-Amz-Credential=([^&]+)")
_SCOPE = re.compile(r"([^/]+)/\d{8}/[a-z0-9-]+/([a-z0-9-]+)/aws4_request")
_PRESIGNED_SIGNATURE = re.compile(r"[?&]X-Amz-Signature=[0-9a-f]{64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(slots=True, frozen=True)
class Caller:
    """Who signed a request.

    Attributes:
        key: The access key id.
        service: The service that the signature is for: ``sagemaker``, ``s3``, ``sqs``, ``sns``.
    """

    key: str
    service: str


def read_caller(request: Request) -> Caller | None:
    """Return who signed the request, or None where no well-formed signature is there.

    The signature itself is not checked: any key and any secret are good.
    """
    header = request.headers.get("authorization")
    if header is not None:
        match = _AUTHORIZATION.fullmatch(header)
        return Caller(match[1], match[2]) if match else None
    presigned = _PRESIGNED.search(request.target)
    if presigned is None or not _PRESIGNED_SIGNATURE.search(request.target):
        return None
    scope = _SCOPE.fullmatch(unquote(presigned[1]))
    return Caller(scope[1], scope[2]) if scope else None


def is_signed_body(request: Request) -> bool:
    """Return whether the body has the SHA-256 that the request names, if it names one."""
    named = request.headers.get("x-amz-content-sha256", "")
    if not _SHA256.fullmatch(named):
        return True
    digest = hashlib.sha256()
    for block in request.body.blocks():
        digest.update(block)
    return digest.hexdigest() == named


def guess_service(request: Request) -> str:
    """Return the service that an unsigned request seems to mean, to refuse it in its shape."""
    target = request.headers.get("x-amz-target", "")
    if target.startswith("AmazonSQS."):
        return "sqs"
    if target.startswith("SageMaker.") or request.target.startswith("/endpoints/"):
        return "sagemaker"
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return "sns"
    return "s3"
