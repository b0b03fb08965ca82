"""Where a call goes and how it is signed, as aioboto3's client would do it.

The client is asked to make a request and is stopped before it sends it. So everything that bears on
an endpoint (AWS_ENDPOINT_URL variables and profiles, FIPS, dual-stack, VPC endpoints, partitions,
virtual-host and path style, access points) is decided by the one code that knows it all.
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


@dataclass(slots=True, frozen=True)
class Address:
    """Where requests go and how they are signed.

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


class _Captured(Exception):
    """How the client is stopped; without a request where that is not for us to sign."""

    def __init__(self, request: Any) -> None:
        self.request = request


def _stop(request: Any, **_context: object) -> None:
    if _capturing.get():
        raise _Captured(request)


def _leave(signature_version: object, **_context: object) -> None:
    """Stop before a session with S3 Express is asked for: aiobotocore would keep our stop of it."""
    if _capturing.get() and "s3express" in str(signature_version):
        raise _Captured(None)


async def address_of(client: Any, operation: str, **parameters: object) -> Address | None:
    """Return where a client would send an operation.

    Args:
        client: An aioboto3 client.
        operation: The name of its method.
        parameters: What the method is called with.

    Returns:
        None where it does not go directly (through a proxy), or is not signed with SigV4.
    """
    events = client.meta.events
    events.register("before-sign", _leave, unique_id="dispatcher-address-sign")
    events.register("before-send", _stop, unique_id="dispatcher-address")
    token = _capturing.set(True)
    try:
        with translate(f"preparing {operation}", repeatable=True):
            await getattr(client, operation)(**parameters)
    except _Captured as captured:
        request = captured.request
    else:
        return None
    finally:
        _capturing.reset(token)
    if request is None:
        return None
    url = urlsplit(request.url)
    signed = request.headers.get("Authorization", b"")
    scope = _CREDENTIAL.match(signed.decode() if isinstance(signed, bytes) else signed)
    if scope is None or url.hostname is None or url.scheme in get_environ_proxies(request.url):
        return None
    standard = {"http": 80, "https": 443}[url.scheme]
    name = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    port = url.port or standard
    authority = name if port == standard else f"{name}:{port}"
    return Address(url.scheme, url.hostname, port, authority, url.path, scope[1], scope[2])
