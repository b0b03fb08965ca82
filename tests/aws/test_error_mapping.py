"""Error mapping: every error of the services and of the client library has one remedy."""

import socket
from unittest import mock

import aiohttp
import botocore.exceptions as foreign
import pytest
from botocore.parsers import ResponseParserError
from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.aws.error_mapping import by_code, translate
from dispatcher.errors import (
    CallError,
    ConfigError,
    Denied,
    DispatcherError,
    NotThere,
    OutcomeUnknown,
    Rejected,
    ServiceFailed,
    Throttled,
    Transient,
)

OTHER_SERVICES = {"EC2ThrottledException", "TransactionInProgressException"}
AMBIGUOUS = {"LimitExceededException"}  # a quota of resources that no waiting raises


@pytest.mark.parametrize(
    ("code", "status", "message", "error"),
    [
        ("ThrottlingException", 400, "", Throttled),
        ("ThrottlingException", 400, "None", Throttled),
        ("Throttling", 400, "Rate exceeded", Throttled),
        ("TooManyRequestsException", 429, "", Throttled),
        ("Unheard", 429, "", Throttled),
        ("SlowDown", 503, "Please reduce your request rate.", Throttled),
        ("RequestThrottled", 403, "", Throttled),
        ("OverLimit", 403, "too many in flight", Throttled),
        ("KMS.ThrottlingException", 400, "", Throttled),
        ("InternalFailure", 500, "", ServiceFailed),
        ("InternalError", 500, "", ServiceFailed),
        ("ServiceUnavailable", 503, "", ServiceFailed),
        ("503", 503, "", ServiceFailed),
        ("RequestTimeout", 400, "Your socket connection was not read from", Transient),
        ("ExpiredToken", 400, "", Transient),
        ("ExpiredTokenException", 403, "", Transient),
        ("RequestExpired", 400, "", Transient),
        ("RequestTimeTooSkewed", 403, "", Transient),
        ("AccessDenied", 403, "", Denied),
        ("AccessDeniedException", 400, "", Denied),
        ("InvalidAccessKeyId", 403, "", Denied),
        ("SignatureDoesNotMatch", 403, "", Denied),
        ("UnrecognizedClientException", 400, "", Denied),
        ("InvalidClientTokenId", 403, "", Denied),
        ("403", 403, "Forbidden", Denied),
        ("Unheard", 401, "", Denied),
        ("NoSuchBucket", 404, "", Denied),
        ("AWS.SimpleQueueService.NonExistentQueue", 400, "", Denied),
        ("QueueDoesNotExist", 400, "", Denied),
        ("ValidationError", 400, "Endpoint churn of account 123 not found.", Denied),
        ("ValidationException", 400, "Endpoint churn not found", Denied),
        ("ValidationError", 400, "1 validation error detected", Rejected),
        ("ValidationError", 400, "", Rejected),
        ("NoSuchKey", 404, "", Denied),
        ("Unheard", 404, "", Denied),
        ("PermanentRedirect", 301, "", Denied),
        ("UnknownOperationException", 404, "", Denied),
        ("KMS.DisabledException", 400, "", Denied),
        ("InvalidSignatureException", 403, "Signature expired: 20260101T000000Z", Denied),
        ("BadDigest", 400, "", Transient),
        ("RequestEntityTooLarge", 413, "", Rejected),
        ("ReceiptHandleIsInvalid", 400, "", Rejected),
        ("Unheard", 400, "what?", Rejected),
    ],
)
def test_codes(code: str, status: int, message: str, error: type[DispatcherError]) -> None:
    made = by_code(code, status, message, action="invoking endpoint churn")
    assert type(made) is error
    assert "invoking endpoint churn" in str(made)
    assert "None" not in str(made)
    if isinstance(made, CallError):
        assert made.code == code


@pytest.mark.parametrize(
    "code",
    sorted(
        set(ThrottledRetryableChecker._THROTTLED_ERROR_CODES) - OTHER_SERVICES - AMBIGUOUS
        | set(TransientRetryableChecker._TRANSIENT_ERROR_CODES)
    ),
)
def test_what_botocore_would_repeat_is_repeated(code: str) -> None:
    assert isinstance(by_code(code, 400, "", action="x"), Throttled | Transient)


@pytest.mark.parametrize("code", ["NoSuchKey", "404", "Unheard"])
def test_an_object_may_be_missing(code: str) -> None:
    assert type(by_code(code, 404, "", action="x", reading=True)) is NotThere


@given(st.text(), st.integers(100, 599), st.text())
def test_any_answer_has_a_remedy(code: str, status: int, message: str) -> None:
    made = by_code(code, status, message, action="x")
    assert isinstance(made, CallError | Denied)
    if status >= 500:
        assert not isinstance(made, Rejected)


def client_error(error: object, status: int = 400) -> foreign.ClientError:
    return foreign.ClientError(
        {"Error": error, "ResponseMetadata": {"HTTPStatusCode": status}}, "InvokeEndpointAsync"
    )


URL = {"endpoint_url": "http://x"}
REFUSED = aiohttp.ClientConnectorError(mock.Mock(), OSError(111, "refused"))
RESET = aiohttp.ClientOSError(104, "Connection reset by peer")

mapped = pytest.mark.parametrize(
    ("raised", "once", "repeatable"),
    [
        (client_error({"Code": "ThrottlingException", "Message": None}), Throttled, Throttled),
        (client_error({"Code": "ThrottlingException"}), Throttled, Throttled),
        (client_error({}, 503), ServiceFailed, ServiceFailed),
        (foreign.NoCredentialsError(), Denied, Denied),
        (foreign.PartialCredentialsError(provider="env", cred_var="x"), Denied, Denied),
        (foreign.CredentialRetrievalError(provider="x", error_msg="y"), Denied, Denied),
        (foreign.TokenRetrievalError(provider="sso", error_msg="y"), Denied, Denied),
        (foreign.ProfileNotFound(profile="x"), ConfigError, ConfigError),
        (foreign.ConfigParseError(path="x"), ConfigError, ConfigError),
        (foreign.ParamValidationError(report="bad"), Rejected, Rejected),
        (RecursionError("maximum recursion depth exceeded"), Denied, Denied),
        (foreign.FlexibleChecksumError(error_msg="x"), Transient, Transient),
        (foreign.EndpointConnectionError(**URL, error=REFUSED), Transient, Transient),
        (foreign.ConnectTimeoutError(**URL), Transient, Transient),
        (foreign.ProxyConnectionError(proxy_url="http://p"), Transient, Transient),
        (foreign.SSLError(**URL, error="bad"), Transient, Transient),
        (foreign.EndpointConnectionError(**URL, error=RESET), OutcomeUnknown, Transient),
        (foreign.EndpointConnectionError(**URL), OutcomeUnknown, Transient),
        (foreign.ConnectionClosedError(**URL), OutcomeUnknown, Transient),
        (foreign.ReadTimeoutError(**URL), OutcomeUnknown, Transient),
        (foreign.HTTPClientError(error="x"), OutcomeUnknown, Transient),
        (foreign.IncompleteReadError(actual_bytes=1, expected_bytes=2), OutcomeUnknown, Transient),
        (ResponseParserError("unable to parse response"), OutcomeUnknown, Transient),
        (aiohttp.ClientPayloadError("cut off"), OutcomeUnknown, Transient),
        (TimeoutError(), OutcomeUnknown, Transient),
        (ConnectionResetError(), OutcomeUnknown, Transient),
        (socket.gaierror(-2, "unknown"), OutcomeUnknown, Transient),
    ],
    ids=repr,
)


@mapped
def test_exceptions(
    raised: Exception, once: type[DispatcherError], repeatable: type[DispatcherError]
) -> None:
    for flag, error in ((False, once), (True, repeatable)):
        with pytest.raises(error) as caught, translate("trying", repeatable=flag):
            raise raised
        assert type(caught.value) is error
        assert caught.value.__cause__ is raised


@pytest.mark.parametrize("raised", [ValueError("a bug"), Denied("ours"), Throttled("ours")])
def test_other_exceptions_pass(raised: Exception) -> None:
    with pytest.raises(type(raised)) as caught, translate("trying", repeatable=True):
        raise raised
    assert caught.value is raised
