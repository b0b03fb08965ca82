"""Foreign errors become ours here, by what can be done about them.

``by_code`` is pure and knows the services' codes; ``translate`` reads botocore's exceptions.
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

_THROTTLED = {
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
_MISSING = {
    "NoSuchBucket",
    "QueueDoesNotExist",
    "AWS.SimpleQueueService.NonExistentQueue",
    "com.amazonaws.sqs#QueueDoesNotExist",
}
_DENIED = {
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
# Whatever answers so is not the service, region or bucket that was meant, for any request.
_ELSEWHERE = {
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
_OF_THE_KEY = {
    "KMS.DisabledException",
    "KMS.InvalidKeyUsageException",
    "KMS.KMSInvalidStateException",
    "KMS.NotFoundException",
}
_NOT_THERE = {"NoSuchKey", "NotFound", "404"}
# Refreshed credentials mend these.
_SOON_MENDED = {
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "TokenRefreshRequired",
}
# The request did not arrive as it was sent; the status is 400 or 409 all the same.
_NOT_RECEIVED = {
    "BadDigest",
    "IncompleteBody",
    "OperationAborted",
    "RequestTimeout",
    "RequestTimeoutException",
    "XAmzContentSHA256Mismatch",
}
UNREADABLE = (AttributeError, LookupError, TypeError, ValueError)
"""What reading an answer of another shape than it should have ends with."""

_WORDS_CHARS = 500
"""How much of a service's own words is shown."""

_BEFORE_SENDING = (
    foreign.ConnectTimeoutError,
    foreign.ProxyConnectionError,
    foreign.SSLError,
)
_OF_THE_CLOCK = {"RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed"}
_CLOCK = re.compile(r"signature expired|not yet current", re.IGNORECASE)
_ENDPOINT_NOT_FOUND = re.compile(r"endpoint\b.*\bnot found", re.IGNORECASE)


def by_code(
    code: str, status: int, message: str, *, doing: str, reading: bool = False
) -> DispatcherError:
    """Return our error for a service's answer.

    Args:
        code: The service's error code, without a namespace or URL suffix.
        status: HTTP status.
        message: The service's own words; may be empty.
        doing: What was tried, for the message: "invoking endpoint churn".
        reading: An object was asked for, which may not be there.
    """
    words = _words(message)
    said = f"{code}: {words}" if words and words != "None" else code
    if code in _THROTTLED or status == 429:
        return Throttled(f"throttled while {doing} ({said})", code=code)
    if code in _MISSING or (code.startswith("Validation") and _ENDPOINT_NOT_FOUND.search(message)):
        return Denied(
            f"{doing} failed because it does not exist ({said}). Check its name and the region, "
            "then run the same command again"
        )
    if code in _SOON_MENDED:
        return Transient(f"credentials or clock refused while {doing} ({said})", code=code)
    if reading and (code in _NOT_THERE or status == 404):
        return NotThere(f"no such object while {doing}", code=code)
    if code in _ELSEWHERE or status in (301, 302, 307, 308, 404, 405, 501):
        return Denied(
            f"{doing} was answered by something else than was meant ({said}, HTTP {status}). Check "
            "the region and the AWS_ENDPOINT_URL variables, then run the same command again",
            code=code,
        )
    if status >= 500:
        return ServiceFailed(f"the service failed while {doing} ({said})", code=code)
    if _CLOCK.search(message):
        return Denied(
            f"AWS refuses {doing} because this machine's clock is wrong ({said}). Set the clock, "
            "then run the same command again"
        )
    if code in _OF_THE_KEY:
        return Denied(
            f"{doing} failed because of the KMS key ({said}). Check staging.kms_key, or the key of "
            "the bucket, then run the same command again",
            code=code,
        )
    if code in _DENIED or code.startswith("KMS.") or status in (401, 403):
        return Denied(
            f"AWS refuses {doing} ({said}). Check the credentials and that their policy allows "
            "it, then run the same command again",
            code=code,
        )
    if code in _NOT_RECEIVED:
        return Transient(f"the request did not arrive whole while {doing} ({said})", code=code)
    return Rejected(f"the service refused {doing} ({said})", code=code)


def _words(message: str) -> str:
    """Return what may be shown of a service's words.

    The first line: to a wrong signature the services answer with the request as they saw it,
    session token and all, on the lines below.
    """
    return (message.strip().splitlines() or [""])[0][:_WORDS_CHARS]


@contextmanager
def translate(doing: str, *, repeatable: bool, reading: bool = False) -> Iterator[None]:
    """Map botocore's exceptions in the block to ours.

    Args:
        doing: What is tried, for the message.
        repeatable: The call may be sent twice without harm, so no answer is as good as not sent.
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
        raise by_code(code, status, message, doing=doing, reading=reading) from error
    except (foreign.NoCredentialsError, foreign.PartialCredentialsError) as error:
        raise Denied(
            f"no AWS credentials were found for {doing}. Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or aws.profile in the configuration"
        ) from error
    except (foreign.CredentialRetrievalError, foreign.TokenRetrievalError) as error:
        raise Denied(f"AWS credentials could not be had for {doing}: {error}") from error
    except foreign.ProfileNotFound as error:
        raise ConfigError(
            f"{error}. Name a profile of your AWS configuration in aws.profile or AWS_PROFILE"
        ) from error
    except (foreign.ConfigParseError, foreign.InvalidConfigError) as error:
        raise ConfigError(f"{error}. Correct your AWS configuration file") from error
    except foreign.MissingDependencyException as error:
        raise ConfigError(
            f"{doing} needs a package that is not installed: {error}. Install it, or name another "
            "kind of bucket"
        ) from error
    except foreign.ParamValidationError as error:
        raise Rejected(f"the request is not valid: {error}", code="ParamValidation") from error
    except foreign.FlexibleChecksumError as error:
        raise Transient(f"{doing}: the checksum is wrong ({error})", code="BadDigest") from error
    except _BEFORE_SENDING as error:
        raise not_sent(error, doing) from error
    except foreign.EndpointConnectionError as error:
        # aiobotocore gives a connection reset after sending the same name as a refused one.
        if isinstance(error.kwargs.get("error"), aiohttp.ClientConnectorError):
            raise not_sent(error, doing) from error
        raise lost(error, doing, repeatable=repeatable) from error
    except RecursionError as error:
        # aiobotocore asks the bucket itself where it is, and is sent away again, without end.
        raise Denied(
            f"{doing} was answered by something else than was meant, and nothing says where it is. "
            "Check the region and the AWS_ENDPOINT_URL variables, then run the same command again"
        ) from error
    except (
        foreign.HTTPClientError,
        foreign.BotoCoreError,
        aiohttp.ClientError,
        ResponseParserError,
        OSError,
    ) as error:
        raise lost(error, doing, repeatable=repeatable) from error


def not_sent(error: Exception, doing: str) -> Transient | Denied:
    """Return our error for a request that never left this machine."""
    if "certificate verify failed" in str(error).lower():
        return Denied(
            f"the certificate of the other side is not trusted while {doing} ({error}). Name your "
            "certificate authorities in AWS_CA_BUNDLE, then run the same command again"
        )
    return Transient(f"cannot connect while {doing}: {error}", code="NoConnection")


def lost(error: Exception, doing: str, *, repeatable: bool) -> CallError:
    """Return our error for a request that was sent, as far as anybody knows, and not answered."""
    message = f"no answer while {doing}: {error}"
    if repeatable:
        return Transient(message, code="NoAnswer")
    return OutcomeUnknown(message, code="NoAnswer")


def is_about_the_clock(code: str, message: str) -> bool:
    """Return whether a refusal may come from a clock that is wrong."""
    return code in _OF_THE_CLOCK or _CLOCK.search(message) is not None
