"""SNS as a service: names of its calls, and refused input."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from dispatcher.emulator.clock import WallClock
from dispatcher.emulator.faults.decisions import FaultPlan
from dispatcher.emulator.gateway.call import Call
from dispatcher.emulator.http.blob import Blob
from dispatcher.emulator.http.message import HttpRequest
from dispatcher.emulator.server import Emulator
from dispatcher.emulator.sns.service import Sns
from dispatcher.emulator.sns.topics import Topics
from dispatcher.emulator.sqs.long_poll import Queues


def test_a_call_has_no_names() -> None:
    clock = WallClock()
    sns = Sns(
        Topics(region="us-east-1", queues=Queues("us-east-1", clock, FaultPlan()), clock=clock)
    )
    assert sns.read_call(HttpRequest("POST", "/", {}, Blob(0))) == Call("sns", "")


async def test_filter_policy_of_another_kind_is_refused(
    clients: dict[str, Any], emulator: Emulator
) -> None:
    sns = clients["sns"]
    topic = (await sns.create_topic(Name="t"))["TopicArn"]
    with pytest.raises(ClientError, match="anything-but"):
        await sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint="arn:aws:sqs:us-east-1:000000000000:completions",
            Attributes={"FilterPolicy": '{"a": [{"anything-but": ["x"]}]}'},
        )
    assert not (await sns.list_subscriptions_by_topic(TopicArn=topic))["Subscriptions"]


@pytest.mark.parametrize(
    "form",
    [
        "Message=a%00b",
        "Message=x&MessageAttributes.entry.1.Name=a",
        "Message=x&MessageAttributes.entry.1.Name=a&MessageAttributes.entry.1.Value.BinaryValue=-",
    ],
)
async def test_odd_publish_is_the_callers_fault(wire: Any, form: str) -> None:
    topic = "arn:aws:sns:us-east-1:000000000000:emulated-success"
    body = f"Action=Publish&TopicArn={topic}&{form}".encode()
    assert (await wire.ask("POST", "/", {}, body, service="sns")).status == 400
