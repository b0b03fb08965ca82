"""The emulator: SageMaker asynchronous inference in a box, over HTTP.

::

    client --HTTP--> listener, connection --Request--> router --> sagemaker | s3 | sqs | sns
    sagemaker --Invocation--> endpoint (queue, instances, model)
    endpoint --> delivery: object to S3, event to SNS topic --> queue "completions"

Router, queues and endpoints ask at the fault points that ``gateway``, ``sqs`` and ``sagemaker``
declare; the fault plan decides. Here both are wired together.

Any AWS SDK works against it when ``AWS_ENDPOINT_URL`` is set to its URL.
"""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Final, Self

from dispatcher.config.settings import EmulatorSettings
from dispatcher.emulator.auth.verification import Account
from dispatcher.emulator.clock import Clock, WallClock
from dispatcher.emulator.faults.decisions import FaultPlan
from dispatcher.emulator.gateway.router import Router
from dispatcher.emulator.http.aws_chunked import decoder_for
from dispatcher.emulator.http.date import HttpDate
from dispatcher.emulator.http.listener import HttpListener, url_of
from dispatcher.emulator.models.loader import load_model
from dispatcher.emulator.models.model import ServiceTimes
from dispatcher.emulator.models.threads import DaemonThreads
from dispatcher.emulator.s3.folder_store import FolderObjects
from dispatcher.emulator.s3.service import S3
from dispatcher.emulator.s3.store import MemoryObjects, ObjectBytes, ObjectStore
from dispatcher.emulator.sagemaker.accepted_log import AcceptedLog
from dispatcher.emulator.sagemaker.completion_events import TEST_NOTIFICATION
from dispatcher.emulator.sagemaker.delivery import OutputDelivery
from dispatcher.emulator.sagemaker.describe import error_topic, success_topic
from dispatcher.emulator.sagemaker.endpoint import Endpoint
from dispatcher.emulator.sagemaker.service import SageMaker
from dispatcher.emulator.sns.service import Sns
from dispatcher.emulator.sns.topics import Topics
from dispatcher.emulator.sqs.long_poll import Queues
from dispatcher.emulator.sqs.service import Sqs
from dispatcher.emulator.state.folder import lock_folder

_QUEUE: Final = "completions"
_EXPIRY_SECONDS: Final = 1.0
"""Seconds between two searches for expired requests; the minimum time to live is a minute."""


class Emulator:
    """Runs while its context is entered.

    Args:
        settings: The ``emulator`` section of a configuration.
        endpoints: Names of the endpoints that exist.
        buckets: Buckets that exist besides the input and output bucket.
        clock: Time; tests may bring their own.

    Attributes:
        faults: The fault plan and its counters; ``faults.inject`` plays a fault on purpose.
        url: Its URL, ``http://host:port``; known once entered.
        queue_url: The SQS queue that all endpoints' events go to.
    """

    region: Final = "us-east-1"
    access_key_id: Final = "emulator"
    secret_access_key: Final = "emulator"  # noqa: S105 - protects nothing
    input_bucket: Final = "emulator-input"
    output_bucket: Final = "emulator-output"

    def __init__(
        self,
        settings: EmulatorSettings,
        *,
        endpoints: Sequence[str] = ("emulated",),
        buckets: Sequence[str] = (),
        clock: Clock | None = None,
    ) -> None:
        self._settings = settings
        self._names = tuple(endpoints)
        self._bucket_names = (self.input_bucket, self.output_bucket, *buckets)
        self._clock: Clock = WallClock() if clock is None else clock
        self._exit = contextlib.AsyncExitStack()
        self._endpoints: dict[str, Endpoint] = {}
        self._objects: ObjectStore = MemoryObjects()
        self.faults = FaultPlan(settings.faults, settings.seed)
        self._queues = Queues(self.region, self._clock, self.faults)
        self.url = ""
        self.queue_url = ""

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of a process that uses the emulator."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
        }

    def endpoint(self, name: str) -> Endpoint:
        """Return an endpoint with its counters; raises KeyError where there is none."""
        return self._endpoints[name]

    def objects(self, bucket: str) -> Mapping[str, bytes]:
        """Return the objects of a bucket by key, as they are now and will be."""
        return ObjectBytes(self._objects.buckets[bucket])

    async def idle(self) -> None:
        """Return when no endpoint has anything queued or running."""
        for endpoint in self._endpoints.values():
            await endpoint.idle()

    async def __aenter__(self) -> Self:
        """Start; go on with what an earlier process left in the state folder.

        Raises:
            ConfigError: The port cannot be listened on, the model cannot be loaded, or another
                process uses the state folder.
            StateError: The state folder cannot be used.
        """
        async with contextlib.AsyncExitStack() as starting:
            await self._start(starting)
            self._exit = starting.pop_all()
        return self

    async def _start(self, exits: contextlib.AsyncExitStack) -> None:
        settings = self._settings
        model = load_model(settings.model)
        folder = None if settings.state is None else Path(settings.state)
        if folder is not None:
            exits.enter_context(lock_folder(folder))
        objects = self._objects = MemoryObjects() if folder is None else FolderObjects(folder)
        exits.callback(objects.close)
        for name in self._bucket_names:
            objects.create_bucket(name)
        accepted = None
        if folder is not None:
            accepted = AcceptedLog(folder / "accepted.log")
            exits.callback(accepted.close)

        queues = self._queues = Queues(self.region, self._clock, self.faults)
        topics = Topics(region=self.region, queues=queues, clock=self._clock)
        delivery = OutputDelivery(
            region=self.region,
            bucket=self.output_bucket,
            objects=objects,
            topics=topics if settings.events else None,
            clock=self._clock,
            faults=self.faults,
            accepted=accepted,
            response_in_event=settings.response_in_event,
        )
        sqs = Sqs(queues, lambda: self.url)
        router = Router(
            {
                "sagemaker": SageMaker(
                    self._endpoints,
                    clock=self._clock,
                    bucket=self.output_bucket,
                    region=self.region,
                    events=settings.events,
                    response_in_event=settings.response_in_event,
                    accepted=accepted,
                ),
                "s3": S3(objects, self._clock),
                "sqs": sqs,
                "sns": Sns(topics),
            },
            self._clock,
            faults=self.faults,
            account=(
                Account(self.access_key_id, self.secret_access_key, self.region)
                if settings.verify_signatures
                else None
            ),
        )
        listener = HttpListener(
            router, decoder_for, date=HttpDate(self._clock), spool_folder=objects.spool_folder
        )
        threads = DaemonThreads(settings.instances)
        exits.callback(threads.shutdown, wait=False)
        exits.push_async_callback(listener.close)

        completions = queues.create(_QUEUE).arn
        for name in self._names:
            self._endpoints[name] = Endpoint(
                name,
                model=model,
                instances=settings.instances,
                times=ServiceTimes(
                    settings.service_time,
                    Random(f"{settings.seed} {name}"),  # noqa: S311 - chosen to repeat
                ),
                clock=self._clock,
                outcomes=delivery,
                faults=self.faults,
                threads=threads,
                spawn=listener.spawn,
            )
            arns = [topics.create(success_topic(name)), topics.create(error_topic(name))]
            for arn in arns:
                topics.subscribe(arn, completions).raw = settings.raw_delivery
                if settings.events:
                    topics.publish(arn, TEST_NOTIFICATION)
            delivery.add_endpoint(name, success_topic=arns[0], error_topic=arns[1])

        await listener.open(settings.host, settings.port)
        self.url = url_of(settings.host, listener.port)
        self.queue_url = sqs.queue_url(_QUEUE)
        for invocation in accepted.unsettled() if accepted is not None else ():
            if invocation.endpoint in self._endpoints:
                self._endpoints[invocation.endpoint].offer(invocation)
        listener.spawn(self._expire())

    async def _expire(self) -> None:
        while True:
            await self._clock.sleep(_EXPIRY_SECONDS)
            for endpoint in self._endpoints.values():
                endpoint.expire()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop; unfinished invocations stay in the state folder, if there is one."""
        await self._exit.__aexit__(kind, error, traceback)
