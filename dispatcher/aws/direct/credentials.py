"""Signing keys, renewed in the background of the calls by aioboto3's credentials."""

import logging
import time
from typing import Any

from dispatcher.aws.direct.sigv4 import Keys
from dispatcher.aws.error_mapping import translate
from dispatcher.errors import Denied, DispatcherError

_CHECK_SECONDS = 1.0
"""How often the credentials are checked for expiry; this takes no time."""

_log = logging.getLogger(__name__)


class SigningCredentials:
    """Source of signing keys that makes at most one call wait.

    aioboto3's credentials begin to renew themselves a quarter of an hour before they expire, when
    they are used. The one call that uses them then waits; all others go on with the old keys, even
    past their expiry: the service refuses those calls, and they are repeated.

    Args:
        credentials: aioboto3's credentials, whatever their kind.
    """

    def __init__(self, credentials: Any) -> None:
        self._credentials = credentials
        self._keys: Keys | None = None
        self._check_at = 0.0
        self._is_renewing = False

    def keys(self) -> Keys | None:
        """Return the keys to sign with, or None where the caller has to ``renew``."""
        if self._is_renewing or time.monotonic() < self._check_at:
            return self._keys
        return None

    async def renew(self) -> Keys:
        """Return the keys to sign with, which may be new ones.

        Raises:
            Denied: They have expired, and there are no new ones.
        """
        self._is_renewing = True  # from here on, others go on with the old keys
        try:
            frozen = await self._refresh()
        except DispatcherError as error:
            if self._keys is None or self._has_expired():
                self._check_at = 0.0
                raise
            _log.warning("AWS credentials could not be renewed, and are still good: %s", error)
            self._check_at = time.monotonic() + _CHECK_SECONDS
            return self._keys
        finally:
            self._is_renewing = False
        self._check_at = time.monotonic() + _CHECK_SECONDS
        keys = Keys(frozen.access_key, frozen.secret_key, frozen.token or None)
        parts = (keys.access_key_id, keys.secret_access_key, keys.session_token or "")
        if not all(map(_is_clean, parts)):
            self._check_at = 0.0
            raise Denied(
                "the AWS access key id, secret access key or session token holds a blank or a line "
                "break. Often it is one at the end of a file or variable: remove it, then run the "
                "same command again"
            )
        if keys != self._keys:
            self._keys = keys
        return self._keys

    async def _refresh(self) -> Any:
        try:
            with translate("signing requests", repeatable=True):
                return await self._credentials.get_frozen_credentials()
        except (RuntimeError, ValueError) as error:
            # New keys that have expired already; a credential process that prints no JSON.
            raise Denied(
                f"AWS credentials could not be had for signing requests: {error}"
            ) from error

    def expire(self) -> None:
        """Note that the service calls the keys expired: renew them at the next call."""
        self._check_at = 0.0

    def _has_expired(self) -> bool:
        needs_renewal = getattr(self._credentials, "refresh_needed", None)
        return needs_renewal is None or bool(needs_renewal(0))


def _is_clean(part: str) -> bool:
    """Return whether a part of the keys can stand in a header."""
    return part.isascii() and part.isprintable() and " " not in part
