"""The service: the emulator's core on the loop's clock, in memory, with faults of its own."""

import asyncio
import itertools
import random
import re
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import orjson

from dispatcher.aws.requests import InvokeRequest, InvokeResponse
from dispatcher.config.settings import ServiceTime
from dispatcher.emulator.faults.decisions import FaultPlan
from dispatcher.emulator.models.model import ModelRequest, ModelResponse, ServiceTimes
from dispatcher.emulator.s3.store import MemoryObjects, ObjectBytes
from dispatcher.emulator.sagemaker import invocation
from dispatcher.emulator.sagemaker.delivery import OutputDelivery
from dispatcher.emulator.sagemaker.endpoint import Endpoint, Failure
from dispatcher.emulator.sagemaker.invocation import AcceptedInvocation
from dispatcher.emulator.sns.topics import Topics
from dispatcher.emulator.sqs.long_poll import PolledQueue, Queues
from dispatcher.emulator.sqs.service import Sqs
from tests.doubles import invocation_headers
from tests.simulation.container import numbers_in, predict, records_in, spoils
from tests.simulation.history import Came, Ended, Fact, Missed, Sink, Taken
from tests.simulation.loop import SimulatedLoop
from tests.simulation.scenario import QUEUES, SQS, STAGING, Item, Scenario

OUTPUT = "outputs"
_REGION = "r"
_EXPIRY_SECONDS = 5.0
_ID = re.compile(r'inferenceId\\?": ?\\?"([^"\\]+)')


class _Clock:
    def __init__(self, loop: SimulatedLoop) -> None:
        self.now = loop.wall
        self.sleep = asyncio.sleep


class _Topics(Topics):
    """Remembers what it published that is no event of an invocation, whatever it looks like."""

    strays: set[str]

    def publish(self, topic_arn: str, message: str, **options: Any) -> str:
        if "delays" not in options:
            self.strays.add(message)
        return super().publish(topic_arn, message, **options)


class _Outcomes(OutputDelivery):
    """Notes what became of each invocation.

    Attributes:
        note: Takes each fact.
        by_id: Outputs are found by their ids.
    """

    note: Callable[[Fact], None]
    by_id: bool
    _faults: FaultPlan
    _garbled = 0

    async def load(self, invocation: AcceptedInvocation) -> bytes | Failure:
        loaded = await super().load(invocation)
        if isinstance(loaded, Failure):
            self.note(Missed(invocation.inference_id, "model"))
        return loaded

    def completed(
        self, invocation: AcceptedInvocation, response: ModelResponse, *, silent: bool = False
    ) -> None:
        garbled = self._faults.struck["wrong_count"]
        payload = self.payload(invocation)
        is_whole = garbled == self._garbled and not spoils(
            records_in(payload, invocation.content_type), by_id=self.by_id
        )
        how: Ended = "completed" if is_whole else "garbled"
        self._garbled = garbled
        self.note(_came(invocation, how, payload))
        super().completed(invocation, response, silent=silent)

    def failed(
        self, invocation: AcceptedInvocation, failure: Failure, *, silent: bool = False
    ) -> None:
        self.note(_came(invocation, "failed", self.payload(invocation)))
        super().failed(invocation, failure, silent=silent)

    def expired(self, invocation: AcceptedInvocation, *, silent: bool = False) -> None:
        self.note(_came(invocation, "expired", self.payload(invocation)))
        super().expired(invocation, silent=silent)

    def payload(self, invocation: AcceptedInvocation) -> bytes:
        """Return what was sent, in either way."""
        if invocation.input_location is None:
            return invocation.body
        bucket, _, key = invocation.input_location.removeprefix("s3://").partition("/")
        stored = self._objects.get(bucket, key)
        return stored.blob.read() if stored is not None else b""


def _came(invocation: AcceptedInvocation, how: Ended, payload: bytes) -> Came:
    return Came(invocation.inference_id, how, numbers_in(payload, invocation.content_type))


class Cloud:
    """The service and its contents, which outlive every process.

    Attributes:
        objects: S3.
        source: The queue that records come from, if they do.
        sinks: The queues that outcomes go to, if they do.
        sqs: All queues.
        faults: What goes wrong.
        staged: The records of payloads that were put into S3, or were about to be, by key.
    """

    def __init__(
        self, scenario: Scenario, loop: SimulatedLoop, note: Callable[[Fact], None]
    ) -> None:
        service = scenario.service
        clock = _Clock(loop)
        rng = random.Random(f"{scenario.seed} service")
        self.faults = FaultPlan(scenario.faults, scenario.seed)
        self.note = note
        self._seed = scenario.seed
        self._numbers: dict[str, int] = {}
        self.loop = loop
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._serials = itertools.count(1)
        self.staged: dict[str, tuple[int, ...]] = {}
        self.objects = MemoryObjects()
        self.objects.create_bucket(OUTPUT)
        self.objects.create_bucket(STAGING)
        queues = Queues(_REGION, clock, self.faults)
        completions = queues.create("completions")
        completions.attributes["VisibilityTimeout"] = str(round(service.visibility))
        completions.messages.visibility = service.visibility
        self.source = queues.create("source")
        self.source.attributes["VisibilityTimeout"] = str(round(service.source_visibility))
        self.source.messages.visibility = service.source_visibility
        self.sinks: dict[Sink, PolledQueue] = {name: queues.create(name) for name in QUEUES}
        self.sqs = Sqs(queues, lambda: SQS.rpartition("/")[0])
        topics = _Topics(region=_REGION, queues=queues, clock=clock)
        topics.strays = self._strays = set[str]()
        self._outcomes = _Outcomes(
            region=_REGION,
            bucket=OUTPUT,
            objects=self.objects,
            topics=topics,
            clock=clock,
            faults=self.faults,
            accepted=None,
            response_in_event=service.response_in_event,
        )
        self._outcomes.note = note
        self._packing = scenario.config.packing
        self._outcomes.by_id = self._packing.answer.id is not None
        arn = topics.create("t")
        topics.subscribe(arn, completions.arn).raw = service.raw_delivery
        self._outcomes.add_endpoint("e", success_topic=arn, error_topic=arn)
        self._lines = service.lines
        self._endpoint = Endpoint(
            "e",
            model=self._predict,
            instances=service.instances,
            times=ServiceTimes(ServiceTime(median=service.median, p99=service.p99), rng),
            clock=clock,
            outcomes=self._outcomes,
            faults=self.faults,
            threads=None,  # type: ignore[arg-type]  # the model is a coroutine
            spawn=self._spawn,
        )
        self._spawn(self._expire())

    def take(self, request: InvokeRequest) -> InvokeResponse:
        """Accept a call."""
        headers = invocation_headers(request)
        body = request.body or b""
        invocation.check(headers, len(body))
        taken = invocation.read(
            "e", headers, body, serial=next(self._serials), now=self.loop.wall()
        )
        payload = self._outcomes.payload(taken)
        self.note(Taken(taken.inference_id, numbers_in(payload, taken.content_type)))
        self._endpoint.offer(taken)
        return InvokeResponse(
            self._outcomes.location(taken.output_key), self._outcomes.location(taken.failure_key)
        )

    def feed(self, items: Sequence[Item]) -> dict[str, int]:
        """Send records to the source; return their numbers by the names of their messages."""
        rng = random.Random(f"{self._seed} feed")
        for item in items:
            message = self.source.send(item.raw.decode(), delay=rng.choice((0.0, 0.5)))
            self._numbers[message.id] = item.number
        return dict(self._numbers)

    def number_of(self, name: str) -> int:
        """Return the record of a message of the source."""
        return self._numbers[name]

    def unread(self) -> list[int]:
        """Return the records whose messages are still in the source."""
        return [self._numbers[message.id] for message in self.source.messages._messages.values()]

    def left(self) -> list[str]:
        """Return where payloads are in S3."""
        return [f"s3://{STAGING}/{key}" for key in ObjectBytes(self.objects.buckets[STAGING])]

    def invocation_of(self, body: str) -> str | None:
        """Return the invocation whose event a message is, or None."""
        named = _ID.search(body)
        if named is None:
            return None
        event = orjson.loads(body)["Message"] if body.startswith('{"Type"') else body
        return None if event in self._strays else named[1]

    def calm_down(self) -> None:
        """Let nothing go wrong any more."""
        self.faults._armed.clear()

    async def close(self) -> None:
        """End what goes on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(_EXPIRY_SECONDS)
            self._endpoint.expire()

    async def _predict(self, request: ModelRequest) -> ModelResponse:
        by_id = self._packing.answer.id is not None
        return predict(
            request.body,
            request.content_type,
            self._packing.framing,
            lines=self._lines,
            shuffle=f"{self._seed} {request.inference_id}" if by_id else None,
        )
