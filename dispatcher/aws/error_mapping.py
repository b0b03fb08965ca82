"""Mapping of AWS and botocore errors to ours, by remedy.

``by_code`` is pure and maps the services' codes; ``translate`` maps botocore's exceptions.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
import botocore.exceptions as foreign
from botocore.parsers import ResponseParserError

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

_THROTTLED_CODES = {
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
    "RequestThrottled",
    "RequestLimitExceeded",
    "SlowDown",
    "ProvisionedThroughputExceededException",
    "OverLimit",
    "RequestThrottledException",
    "BandwidthLimitExceeded",
    "PriorRequestNotComplete",
    "KMS.ThrottlingException",
    "KmsThrottled",
}
_MISSING_RESOURCE_CODES = {
    "NoSuchBucket",
    "QueueDoesNotExist",
    "AWS.SimpleQueueService.NonExistentQueue",
    "com.amazonaws.sqs#QueueDoesNotExist",
}
_DENIED_CODES = {
    "AccessDenied",
    "AccessDeniedException",
    "AllAccessDisabled",
    "AuthFailure",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "InvalidToken",
    "KMS.AccessDeniedException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
    "OptInRequired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
# The request reached another service, region or bucket than it was meant for.
_WRONG_SERVICE_CODES = {
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "InvalidAction",
    "InvalidAddress",
    "InvalidBucketName",
    "MethodNotAllowed",
    "PermanentRedirect",
    "TemporaryRedirect",
    "UnknownOperation",
    "UnknownOperationException",
}
_KMS_KEY_CODES = {
    "KMS.DisabledException",
    "KMS.InvalidKeyUsageException",
    "KMS.KMSInvalidStateException",
    "KMS.NotFoundException",
}
_NO_OBJECT_CODES = {"NoSuchKey", "NotFound", "404"}
# Refreshed credentials remedy these.
_EXPIRED_CODES = {
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "TokenRefreshRequired",
}
# The request did not arrive as it was sent; the status is 400 or 409 all the same.
_DAMAGED_REQUEST_CODES = {
    "BadDigest",
    "IncompleteBody",
    "OperationAborted",
    "RequestTimeout",
    "RequestTimeoutException",
    "XAmzContentSHA256Mismatch",
}
MALFORMED_RESPONSE_ERRORS = (AttributeError, LookupError, TypeError, ValueError)
"""Errors of code that reads a response of an unexpected shape."""

_MAX_MESSAGE_CHARS = 500
"""Longest part of a service's own message that is shown."""

_NOT_SENT_ERRORS = (
    foreign.ConnectTimeoutError,
    foreign.ProxyConnectionError,
    foreign.SSLError,
)
_CLOCK_CODES = {"RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed"}
_CLOCK_MESSAGE = re.compile(r"signature expired|not yet current", re.IGNORECASE)
_ENDPOINT_NOT_FOUND = re.compile(r"endpoint\b.*\bnot found", re.IGNORECASE)


def by_code(
    code: str, status: int, message: str, *, action: str, reading: bool = False
) -> DispatcherError:
    """Return our error for an error response of a service.

    Args:
        code: The service's error code, without a namespace or URL suffix.
        status: HTTP status.
        message: The service's own message; may be empty.
        action: The call, for the message: "invoking endpoint churn".
        reading: An object was asked for, which may not be there.
    """
    shown = _shown_message(message)
    reason = f"{code}: {shown}" if shown and shown != "None" else code
    if code in _THROTTLED_CODES or status == 429:
        return Throttled(f"throttled while {action} ({reason})", code=code)
    if code in _MISSING_RESOURCE_CODES or (
        code.startswith("Validation") and _ENDPOINT_NOT_FOUND.search(message)
    ):
        return Denied(
            f"{action} failed because it does not exist ({reason}). Check its name and the region, "
            "then run the same command again"
        )
    if code in _EXPIRED_CODES:
        return Transient(f"credentials or clock refused while {action} ({reason})", code=code)
    if reading and (code in _NO_OBJECT_CODES or status == 404):
        return NotThere(f"no such object while {action}", code=code)
    if code in _WRONG_SERVICE_CODES or status in (301, 302, 307, 308, 404, 405, 501):
        return Denied(
            f"{action} was answered by something else than was meant ({reason}, HTTP {status}). "
            "Check the region and the AWS_ENDPOINT_URL variables, then run the same command again",
            code=code,
        )
    if status >= 500:
        return ServiceFailed(f"the service failed while {action} ({reason})", code=code)
    if _CLOCK_MESSAGE.search(message):
        return Denied(
            f"AWS refuses {action} because this machine's clock is wrong ({reason}). Set "
            "the clock, then run the same command again"
        )
    if code in _KMS_KEY_CODES:
        return Denied(
            f"{action} failed because of the KMS key ({reason}). Check staging.kms_key, or the key "
            "of the bucket, then run the same command again",
            code=code,
        )
    if code in _DENIED_CODES or code.startswith("KMS.") or status in (401, 403):
        return Denied(
            f"AWS refuses {action} ({reason}). Check the credentials and that their policy allows "
            "it, then run the same command again",
            code=code,
        )
    if code in _DAMAGED_REQUEST_CODES:
        return Transient(f"the request did not arrive whole while {action} ({reason})", code=code)
    return Rejected(f"the service refused {action} ({reason})", code=code)


def _shown_message(message: str) -> str:
    """Return the part of a service's message that may be shown.

    The first line: the response to a wrong signature repeats the request as the service saw it,
    session token included, on the lines below.
    """
    return (message.strip().splitlines() or [""])[0][:_MAX_MESSAGE_CHARS]


@contextmanager
def translate(action: str, *, repeatable: bool, reading: bool = False) -> Iterator[None]:
    """Map botocore's exceptions in the block to ours.

    Args:
        action: The call, for the message.
        repeatable: The call may be sent twice without harm, so no response counts as not sent.
        reading: An object is asked for, which may not be there.

    Raises:
        Throttled, Transient, OutcomeUnknown, Rejected, NotThere: By remedy.
        Denied: No repetition can help.
        ConfigError: A profile or a file of the AWS configuration is wrong.
    """
    try:
        yield
    except foreign.ClientError as error:
        details = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code, message = str(details.get("Code", status)), str(details.get("Message") or "")
        raise by_code(code, status, message, action=action, reading=reading) from error
    except (foreign.NoCredentialsError, foreign.PartialCredentialsError) as error:
        raise Denied(
            f"no AWS credentials were found for {action}. Set AWS_PROFILE, or AWS_ACCESS_KEY_ID "
            "and AWS_SECRET_ACCESS_KEY, or aws.profile in the configuration"
        ) from error
    except (foreign.CredentialRetrievalError, foreign.TokenRetrievalError) as error:
        raise Denied(f"AWS credentials could not be had for {action}: {error}") from error
    except foreign.ProfileNotFound as error:
        raise ConfigError(
            f"{error}. Name a profile of your AWS configuration in aws.profile or AWS_PROFILE"
        ) from error
    except (foreign.ConfigParseError, foreign.InvalidConfigError) as error:
        raise ConfigError(f"{error}. Correct your AWS configuration file") from error
    except foreign.MissingDependencyException as error:
        raise ConfigError(
            f"{action} needs a package that is not installed: {error}. Install it, or name another "
            "kind of bucket"
        ) from error
    except foreign.ParamValidationError as error:
        raise Rejected(f"the request is not valid: {error}", code="ParamValidation") from error
    except foreign.FlexibleChecksumError as error:
        raise Transient(f"{action}: the checksum is wrong ({error})", code="BadDigest") from error
    except _NOT_SENT_ERRORS as error:
        raise not_sent(error, action) from error
    except foreign.EndpointConnectionError as error:
        # aiobotocore raises the same error for a reset after sending and for a refused connection.
        if isinstance(error.kwargs.get("error"), aiohttp.ClientConnectorError):
            raise not_sent(error, action) from error
        raise no_response(error, action, repeatable=repeatable) from error
    except RecursionError as error:
        # aiobotocore looks for the bucket by calling it, and is redirected again, without end.
        raise Denied(
            f"{action} was answered by something else than was meant, and nothing says where it "
            "is. Check the region and the AWS_ENDPOINT_URL variables, then run the same command "
            "again"
        ) from error
    except (
        foreign.HTTPClientError,
        foreign.BotoCoreError,
        aiohttp.ClientError,
        ResponseParserError,
        OSError,
    ) as error:
        raise no_response(error, action, repeatable=repeatable) from error


def not_sent(error: Exception, action: str) -> Transient | Denied:
    """Return our error for a request that never left this machine."""
    if "certificate verify failed" in str(error).lower():
        return Denied(
            f"the certificate of the other side is not trusted while {action} ({error}). Name your "
            "certificate authorities in AWS_CA_BUNDLE, then run the same command again"
        )
    return Transient(f"cannot connect while {action}: {error}", code="NoConnection")


def no_response(error: Exception, action: str, *, repeatable: bool) -> CallError:
    """Return our error for a request that may have been sent and got no response."""
    message = f"no response while {action}: {error}"
    if repeatable:
        return Transient(message, code="NoAnswer")
    return OutcomeUnknown(message, code="NoAnswer")


def is_clock_error(code: str, message: str) -> bool:
    """Return whether a wrong clock may be the cause of an error."""
    return code in _CLOCK_CODES or _CLOCK_MESSAGE.search(message) is not None
