"""Reference signatures of botocore, at a given moment with given keys; odd texts."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import strategies as st

from dispatcher.aws.direct.sigv4 import Keys


def signed_by_botocore(
    service: str,
    region: str,
    keys: Keys,
    method: str,
    url: str,
    *,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    now: float,
    context: Mapping[str, object] | None = None,
) -> Any:
    """Return the AWSRequest that botocore's signer makes of a request.

    Args:
        service: As signatures name it.
        region: As signatures name it.
        keys: Whose signature it is.
        method: ``GET``, ``POST``...
        url: As it is sent, percent-encoded.
        headers: All but those that the signer adds; names may be repeated.
        body: The body.
        now: When it is signed, in epoch seconds.
        context: What botocore knows of the operation.
    """
    request = AWSRequest(method, url, data=body)
    for name, value in headers:
        request.headers[name] = value  # adds, even if the name is there
    request.context.update(context or {})
    credentials = Credentials(keys.access_key_id, keys.secret_access_key, keys.session_token)
    signer = S3SigV4Auth if service.startswith("s3") else SigV4Auth
    moment = datetime.fromtimestamp(int(now), UTC).replace(tzinfo=None)
    with patch("botocore.auth.get_current_datetime", lambda: moment):
        signer(credentials, service, region).add_auth(request)
    return request


def texts(often: str, *, max_size: int = 12, **others: Any) -> st.SearchStrategy[str]:
    """Return texts in which some characters come up often; in ``st.text`` each is as rare as any.

    Args:
        often: These characters.
        max_size: Most characters of a text.
        others: As ``st.characters`` takes them.
    """
    one = st.sampled_from(often) | st.characters(**others)
    return st.lists(one, max_size=max_size).map("".join)
