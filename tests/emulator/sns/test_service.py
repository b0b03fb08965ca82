"""SNS as a service: its calls have no names."""

from dispatcher.emulator.clock import WallClock
from dispatcher.emulator.faults.plan import FaultPlan
from dispatcher.emulator.gateway.call import Call
from dispatcher.emulator.http.blob import Blob
from dispatcher.emulator.http.message import HttpRequest
from dispatcher.emulator.sns.service import Sns
from dispatcher.emulator.sns.topics import Topics
from dispatcher.emulator.sqs.long_poll import Queues


def test_a_call_has_no_names() -> None:
    clock = WallClock()
    sns = Sns(Topics("us-east-1", Queues("us-east-1", clock, FaultPlan()), clock))
    assert sns.read_call(HttpRequest("POST", "/", {}, Blob(0))) == Call("sns", "")
