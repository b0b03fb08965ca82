"""Delivery of outcomes: first the output or failure object, then the event."""

import asyncio
import hashlib
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson

from dispatcher.emulator.clock import Clock
from dispatcher.emulator.http.blob import SPOOL_BYTES, Blob
from dispatcher.emulator.models.model import ModelResponse
from dispatcher.emulator.s3.store import ObjectStore, StoredObject
from dispatcher.emulator.sagemaker.accepted_log import AcceptedLog
from dispatcher.emulator.sagemaker.completion_events import (
    expired_event,
    failure_event,
    success_event,
)
from dispatcher.emulator.sagemaker.endpoint import Failure
from dispatcher.emulator.sagemaker.fault_types import EndpointFaults
from dispatcher.emulator.sagemaker.invocation import AcceptedInvocation
from dispatcher.emulator.sns.topics import Topics


class OutputDelivery:
    """Loads inputs from S3, writes results to it and publishes events.

    Args:
        region: AWS region, for events.
        bucket: The output bucket.
        objects: S3.
        topics: SNS, or None to publish nothing.
        clock: Time.
        faults: Source of the faults of events.
        accepted: Journal of open invocations, or None.
        response_in_event: Whether small responses travel in the event.
    """

    def __init__(
        self,
        *,
        region: str,
        bucket: str,
        objects: ObjectStore,
        topics: Topics | None,
        clock: Clock,
        faults: EndpointFaults,
        accepted: AcceptedLog | None,
        response_in_event: bool,
    ) -> None:
        self._region = region
        self._bucket = bucket
        self._objects = objects
        self._topics = topics
        self._clock = clock
        self._faults = faults
        self._accepted = accepted
        self._response_in_event = response_in_event
        self._success: dict[str, str] = {}
        self._error: dict[str, str] = {}

    def add_endpoint(self, name: str, *, success_topic: str, error_topic: str) -> None:
        """Set the topics of an endpoint's events."""
        self._success[name] = success_topic
        self._error[name] = error_topic

    async def load(self, invocation: AcceptedInvocation) -> bytes | Failure:
        """Return the payload from S3, or the failure where there is none."""
        location = invocation.input_location or ""
        bucket, key = split_location(location)
        stored = self._objects.get(bucket, key)
        if stored is not None:
            try:
                if stored.blob.size <= SPOOL_BYTES:
                    return stored.blob.read()
                return await asyncio.to_thread(stored.blob.read)
            except FileNotFoundError:
                pass  # deleted in this moment, as if it had never been there
        text = f"Unable to download input data from {location}: "
        text += "NoSuchKey" if bucket in self._objects.buckets else "NoSuchBucket"
        return Failure(f"ClientError: {text}", text.encode())

    def completed(
        self, invocation: AcceptedInvocation, response: ModelResponse, *, silent: bool = False
    ) -> None:
        """Write the output, then publish unless ``silent``."""
        self._put(invocation.output_key, response.body, response.content_type)
        event = success_event(
            invocation,
            region=self._region,
            now=self._clock.now(),
            output_location=self.location(invocation.output_key),
            content_type=response.content_type,
            body=response.body if self._response_in_event else None,
        )
        self._publish(self._success, invocation, event, silent=silent)

    def failed(
        self, invocation: AcceptedInvocation, failure: Failure, *, silent: bool = False
    ) -> None:
        """Write the failure object, then publish unless ``silent``."""
        self._put(invocation.failure_key, failure.body, "text/plain")
        event = failure_event(
            invocation,
            region=self._region,
            now=self._clock.now(),
            failure_location=self.location(invocation.failure_key),
            reason=failure.reason,
            body=failure.body if self._response_in_event else None,
        )
        self._publish(self._error, invocation, event, silent=silent)

    def expired(self, invocation: AcceptedInvocation, *, silent: bool = False) -> None:
        """Publish that the time to live is over, unless ``silent``."""
        event = expired_event(invocation, region=self._region, now=self._clock.now())
        self._publish(self._error, invocation, event, silent=silent)

    def location(self, key: str) -> str:
        """Return the URI of an object in the output bucket."""
        return f"s3://{self._bucket}/{key}"

    def _put(self, key: str, body: bytes, content_type: str) -> None:
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        stored = StoredObject(
            blob=Blob.of(body), etag=etag, content_type=content_type, modified=self._clock.now()
        )
        self._objects.put(self._bucket, key, stored)

    def _publish(
        self,
        topics: dict[str, str],
        invocation: AcceptedInvocation,
        event: dict[str, Any],
        *,
        silent: bool,
    ) -> None:
        if self._topics is not None and not silent:
            topic = topics[invocation.endpoint]
            publication = self._faults.publication(invocation, event)
            for stray in publication.strays:
                self._topics.publish(topic, stray)
            message = orjson.dumps(event).decode()
            self._topics.publish(topic, message, delays=publication.delays)
        # Last: after a kill before this the invocation runs again: at least once, as S3 and SNS.
        if self._accepted is not None:
            self._accepted.settle(invocation.serial)


def split_location(location: str) -> tuple[str, str]:
    """Return bucket and key of an ``s3://`` or ``https://`` location."""
    parts = urlsplit(location)
    if parts.scheme == "s3":
        # Not from urlsplit's path: keys may hold ? and #.
        bucket, _, key = location[len("s3://") :].partition("/")
        return bucket, key
    path = unquote(parts.path.lstrip("/"))
    bucket, dot, _ = parts.netloc.partition(".s3")
    if dot:
        return bucket, path
    bucket, _, key = path.partition("/")
    return bucket, key
