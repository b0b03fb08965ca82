"""Options of a stored object: server-side encryption and tags."""

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

from dispatcher.emulator.http.message import Refusal

ENCRYPTION: Final = "x-amz-server-side-encryption"
KMS_KEY: Final = f"{ENCRYPTION}-aws-kms-key-id"
_TAGGING: Final = "x-amz-tagging"

_ALGORITHMS: Final = {"AES256", "aws:kms", "aws:kms:dsse"}
_DEFAULT_KEY: Final = "arn:aws:kms:us-east-1:000000000000:alias/aws/s3"

MAX_TAGS, MAX_TAG_KEY_CHARS, MAX_TAG_VALUE_CHARS = 10, 128, 256
"""Maximum tags of an object, and maximum characters of their keys and values (D)."""

_TAG: Final = re.compile(r"[\w \t+\-=.:/@]*")


@dataclass(slots=True, frozen=True)
class ObjectOptions:
    """Options of one object.

    Attributes:
        encryption: Response headers that show its encryption.
        tags: Its tags.
    """

    encryption: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def headers(self) -> dict[str, str]:
        """Return the headers that a GET or HEAD shows."""
        if not self.tags:
            return self.encryption
        return self.encryption | {"x-amz-tagging-count": str(len(self.tags))}


def read_options(headers: dict[str, str]) -> ObjectOptions:
    """Return the options that the headers of a write ask for.

    Raises:
        Refusal: InvalidEncryptionAlgorithmError, InvalidArgument, BadRequest or InvalidTag.
    """
    return ObjectOptions(_encryption(headers), _tags(headers.get(_TAGGING, "")))


def _encryption(headers: dict[str, str]) -> dict[str, str]:
    algorithm, key = headers.get(ENCRYPTION), headers.get(KMS_KEY)
    if algorithm is not None and algorithm not in _ALGORITHMS:
        raise Refusal(
            400,
            "InvalidEncryptionAlgorithmError",
            "The encryption request you specified is not valid. The valid value is AES256.",
        )
    with_kms = algorithm is not None and algorithm.startswith("aws:kms")
    if key is not None and not with_kms:
        raise Refusal(
            400,
            "InvalidArgument",
            f"Server Side Encryption with AWS KMS managed key requires HTTP header {ENCRYPTION} : "
            "aws:kms",
        )
    if algorithm is None:
        return {}
    result = {ENCRYPTION: algorithm}
    return result | {KMS_KEY: key or _DEFAULT_KEY} if with_kms else result


def _tags(text: str) -> dict[str, str]:
    if not text:
        return {}
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError:
        raise _not_tags() from None
    tags = dict(pairs)
    if len(tags) < len(pairs):
        raise _not_tags()
    if len(tags) > MAX_TAGS:
        raise Refusal(400, "BadRequest", f"Object tags cannot be greater than {MAX_TAGS}")
    for key, value in tags.items():
        _check_tag(key, value)
    return tags


def _not_tags() -> Refusal:
    return Refusal(
        400,
        "InvalidArgument",
        f"The header '{_TAGGING}' shall be encoded as UTF-8 then URLEncoded URL query parameters "
        "without tag name duplicates.",
    )


def _check_tag(key: str, value: str) -> None:
    if not (0 < len(key) <= MAX_TAG_KEY_CHARS and _TAG.fullmatch(key)) or key.startswith("aws:"):
        raise Refusal(400, "InvalidTag", "The TagKey you have provided is invalid")
    if len(value) > MAX_TAG_VALUE_CHARS or not _TAG.fullmatch(value):
        raise Refusal(400, "InvalidTag", "The TagValue you have provided is invalid")
