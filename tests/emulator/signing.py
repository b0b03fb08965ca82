"""Requests signed by botocore, which knows nothing of the emulator."""

from dataclasses import dataclass
from typing import Any, ClassVar

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from dispatcher.emulator.http.blob import Blob
from dispatcher.emulator.http.message import HttpRequest


class _SignedAs(S3SigV4Auth):  # type: ignore[misc]
    """Signs a payload by name, as SDKs do over TLS."""

    name: ClassVar[str]

    def payload(self, request: Any) -> str:
        del request
        return self.name


def _signing_as(payload: str) -> type[SigV4Auth]:
    return type("SignedAs", (_SignedAs,), {"name": payload})


@dataclass
class Signed:
    """One signed request, to inspect or to tamper with.

    Attributes:
        method: ``GET``, ``POST``...
        target: Path and query as sent.
        headers: All of them, by the name that is sent.
        body: What is sent as the body.
    """

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""

    def raw(self) -> bytes:
        """Return the bytes that go over the wire."""
        lines = [f"{self.method} {self.target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + self.body

    def request(self) -> HttpRequest:
        """Return the request as the server's parser makes it."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        return HttpRequest(self.method, self.target, headers, Blob.of(self.body))


def sign(
    service: str,
    method: str,
    target: str,
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    *,
    key: str = "emulator",
    secret: str = "emulator",
    token: str | None = None,
    region: str = "us-east-1",
    payload: str | None = None,
    unsigned: dict[str, str] | None = None,
) -> Signed:
    """Sign a request as of now.

    Args:
        service: As signatures name it.
        method: ``GET``, ``POST``...
        target: Path and query.
        headers: Those that are signed; Host is added.
        body: The body.
        key: Access key id.
        secret: Its secret.
        token: Session token.
        region: Of the credential scope.
        payload: The value for S3 in place of the hash of the body.
        unsigned: Headers that are added after signing.
    """
    request = AWSRequest(method, f"http://localhost{target}", dict(headers or {}), body)
    signer = S3SigV4Auth if service == "s3" else SigV4Auth
    if payload is not None:
        signer = _signing_as(payload)
    signer(Credentials(key, secret, token), service, region).add_auth(request)
    sent = {"Host": "localhost", **dict(request.headers.items()), **(unsigned or {})}
    sent["Content-Length"] = str(len(body))
    return Signed(method, target, sent, body)
