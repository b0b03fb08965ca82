"""Address and signing scope of a call, as aioboto3's client determines them.

The client makes a request and is stopped before it sends it. So everything that determines an
endpoint (AWS_ENDPOINT_URL variables and profiles, FIPS, dual-stack, VPC endpoints, partitions,
virtual-host and path style, access points) is decided by the one
implementation of these rules.
"""

import re
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from botocore.utils import get_environ_proxies

from dispatcher.aws.error_mapping import translate

_CREDENTIAL = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/([^/]+)/([^/]+)/aws4_request")
_capturing: ContextVar[bool] = ContextVar("capturing", default=False)


@dataclass(slots=True, frozen=True, kw_only=True)
class Address:
    """Destination and signing scope of requests.

    Attributes:
        scheme: ``http`` or ``https``.
        host: Name or IP address, without brackets.
        port: TCP port.
        authority: The Host header.
        path: The path that the client would send, percent-encoded.
        region: The region in the signature.
        service: The service in the signature.
    """

    scheme: str
    host: str
    port: int
    authority: str
    path: str
    region: str
    service: str


class _RequestCaptured(Exception):
    """Stops the client; without a request where we cannot sign it."""

    def __init__(self, request: Any) -> None:
        self.request = request


def _capture_request(request: Any, **_context: object) -> None:
    if _capturing.get():
        raise _RequestCaptured(request)


def _skip_express_session(signature_version: object, **_context: object) -> None:
    """Stop before S3 Express opens a session: aiobotocore would cache our exception."""
    if _capturing.get() and "s3express" in str(signature_version):
        raise _RequestCaptured(None)


async def address_of(client: Any, operation: str, **parameters: object) -> Address | None:
    """Return the address that a client would send an operation to.

    Args:
        client: An aioboto3 client.
        operation: The name of its method.
        parameters: Keyword arguments of the method.

    Returns:
        None where it does not go directly (through a proxy), or is not signed with SigV4.
    """
    events = client.meta.events
    events.register("before-sign", _skip_express_session, unique_id="dispatcher-address-sign")
    events.register("before-send", _capture_request, unique_id="dispatcher-address")
    token = _capturing.set(True)
    try:
        with translate(f"preparing {operation}", repeatable=True):
            await getattr(client, operation)(**parameters)
    except _RequestCaptured as captured:
        request = captured.request
    else:
        return None
    finally:
        _capturing.reset(token)
    if request is None:
        return None
    url = urlsplit(request.url)
    authorization = request.headers.get("Authorization", b"")
    scope = _CREDENTIAL.match(
        authorization.decode() if isinstance(authorization, bytes) else authorization
    )
    if scope is None or url.hostname is None or url.scheme in get_environ_proxies(request.url):
        return None
    default_port = {"http": 80, "https": 443}[url.scheme]
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    port = url.port or default_port
    authority = host if port == default_port else f"{host}:{port}"
    return Address(
        scheme=url.scheme,
        host=url.hostname,
        port=port,
        authority=authority,
        path=url.path,
        region=scope[1],
        service=scope[2],
    )
