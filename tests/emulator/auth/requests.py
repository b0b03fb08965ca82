"""Requests signed by hand, and the refusal that verification has for a request."""

import time

from dispatcher.emulator.auth.caller import read_caller, sha256_of
from dispatcher.emulator.auth.refusals import (
    CommonSignatureRefusals,
    S3SignatureRefusals,
    SignatureRefusals,
)
from dispatcher.emulator.auth.signature import (
    Scope,
    canonical_request,
    signature,
    signing_key,
    string_to_sign,
)
from dispatcher.emulator.auth.verification import Account, verify
from dispatcher.emulator.http.blob import Blob
from dispatcher.emulator.http.message import HttpRequest, Refusal

ACCOUNT = Account("emulator", "emulator", "us-east-1")

COMMON = CommonSignatureRefusals()

REFUSALS: dict[str, SignatureRefusals] = {"s3": S3SignatureRefusals()}

SENT = "20240229T120000Z"


def refusal_of(request: HttpRequest, service: str, *, now: float | None = None) -> Refusal | None:
    """Return the refusal of a request, or None where it is well signed."""
    caller = read_caller(request)
    assert caller is not None
    try:
        verify(
            request,
            caller,
            ACCOUNT,
            service=service,
            refusals=REFUSALS.get(service, COMMON),
            now=time.time() if now is None else now,
            body_sha256=sha256_of(request.body),
        )
    except Refusal as refusal:
        return refusal
    return None


def by_hand(
    service: str,
    headers: dict[str, str],
    *,
    signed: str | None = None,
    sent: str = SENT,
    scope: Scope | None = None,
    method: str = "POST",
    target: str = "/",
    payload: str | None = None,
) -> HttpRequest:
    """Sign with the right secret what no SDK would sign."""
    headers = {"host": "localhost", **headers}
    names = ";".join(sorted(headers)) if signed is None else signed
    scope = scope or Scope(sent[:8], "us-east-1", service)
    request = HttpRequest(method, target, headers, Blob(0))
    canonical = canonical_request(
        method,
        target,
        {name: headers.get(name, "") for name in names.split(";")},
        names.split(";"),
        payload or headers.get("x-amz-content-sha256") or sha256_of(request.body),
        s3=service == "s3",
    )
    right = signature(signing_key("emulator", scope), string_to_sign(canonical, sent, scope))
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential=emulator/{scope}, SignedHeaders={names}, Signature={right}"
    )
    return request


DATED = {"x-amz-date": SENT}


# Presigned URLs


def presigned(**changes: str) -> HttpRequest:
    """Return a presigned GET that is good for an hour from SENT."""
    query = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": "emulator%2F20240229%2Fus-east-1%2Fs3%2Faws4_request",
        "X-Amz-Date": SENT,
        "X-Amz-Expires": "3600",
        "X-Amz-SignedHeaders": "host",
        **changes,
    }
    target = "/b/k?" + "&".join(f"{name}={value}" for name, value in query.items())
    scope = Scope("20240229", "us-east-1", "s3")
    headers = {"host": "localhost"}
    canonical = canonical_request("GET", target, headers, ["host"], "UNSIGNED-PAYLOAD", s3=True)
    text = string_to_sign(canonical, SENT, scope)
    right = signature(signing_key("emulator", scope), text)
    return HttpRequest("GET", f"{target}&X-Amz-Signature={right}", headers, Blob(0))
