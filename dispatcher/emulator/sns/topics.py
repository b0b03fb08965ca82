"""SNS topics and their delivery to queues."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import uuid4

import orjson

from dispatcher.emulator.clock import Clock, iso_time
from dispatcher.emulator.sns.filter_policy import matches
from dispatcher.emulator.sqs.long_poll import ACCOUNT, Queues

Attributes = dict[str, dict[str, Any]]
PolicyScope = Literal["MessageAttributes", "MessageBody"]


@dataclass(slots=True, kw_only=True)
class Subscription:
    """Subscription of a queue to a topic.

    Attributes:
        arn: Its ARN.
        topic_arn: The topic.
        queue_arn: The queue that messages go to.
        raw: Whether the message goes as it is instead of in an envelope.
        policy: The filter policy, or None.
        scope: The part of a message that the policy filters on.
    """

    arn: str
    topic_arn: str
    queue_arn: str
    raw: bool = False
    policy: dict[str, Any] | None = None
    scope: PolicyScope = "MessageAttributes"


@dataclass(slots=True, kw_only=True)
class Topics:
    """All topics and subscriptions of the emulated account.

    Attributes:
        region: AWS region, for ARNs.
        queues: Where messages are delivered.
        clock: Time of the envelopes.
        topics: Subscriptions by topic ARN and subscription ARN.
        subscriptions: All subscriptions by ARN.
    """

    region: str
    queues: Queues
    clock: Clock
    topics: dict[str, dict[str, Subscription]] = field(default_factory=dict)
    subscriptions: dict[str, Subscription] = field(default_factory=dict)

    def create(self, name: str) -> str:
        """Return the ARN of the topic of this name, made where it does not exist."""
        arn = f"arn:aws:sns:{self.region}:{ACCOUNT}:{name}"
        self.topics.setdefault(arn, {})
        return arn

    def delete(self, arn: str) -> None:
        """Remove a topic and its subscriptions; one that does not exist is no error."""
        for subscription in self.topics.pop(arn, {}):
            del self.subscriptions[subscription]

    def subscribe(self, topic_arn: str, queue_arn: str) -> Subscription:
        """Return the subscription of a queue to an existing topic, made where there is none."""
        for known in self.topics[topic_arn].values():
            if known.queue_arn == queue_arn:
                return known
        made = Subscription(arn=f"{topic_arn}:{uuid4()}", topic_arn=topic_arn, queue_arn=queue_arn)
        self.topics[topic_arn][made.arn] = made
        self.subscriptions[made.arn] = made
        return made

    def unsubscribe(self, arn: str) -> None:
        """Remove a subscription; one that does not exist is no error."""
        gone = self.subscriptions.pop(arn, None)
        if gone is not None:
            del self.topics[gone.topic_arn][arn]

    def publish(
        self,
        topic_arn: str,
        message: str,
        *,
        attributes: Attributes | None = None,
        subject: str | None = None,
        delays: Sequence[float] = (0.0,),
    ) -> str:
        """Deliver a message to the subscriptions of a topic and return its id.

        Args:
            topic_arn: The topic.
            message: The text.
            attributes: Message attributes, as SNS takes them.
            subject: The subject, in the envelope.
            delays: One number for each copy: how much later a queue shows it, in seconds.
        """
        message_id = str(uuid4())
        envelope: str | None = None
        for subscription in self.topics[topic_arn].values():
            queue = self.queues.of_arn(subscription.queue_arn)
            if queue is None or not _wanted(subscription, message, attributes or {}):
                continue
            body = message
            if not subscription.raw:
                if envelope is None:
                    envelope = self._envelope(topic_arn, message_id, message, attributes, subject)
                body = envelope
            for delay in delays:
                carried = attributes if subscription.raw else None
                queue.send(body, delay=delay, attributes=carried)
        return message_id

    def _envelope(
        self,
        topic_arn: str,
        message_id: str,
        message: str,
        attributes: Attributes | None,
        subject: str | None,
    ) -> str:
        service = f"https://sns.{self.region}.amazonaws.com"
        envelope: dict[str, Any] = {
            "Type": "Notification",
            "MessageId": message_id,
            "TopicArn": topic_arn,
            "Message": message,
            "Timestamp": iso_time(self.clock.now()),
            "SignatureVersion": "1",
            "Signature": "RU1VTEFUT1I=",
            "SigningCertURL": f"{service}/SimpleNotificationService-emulator.pem",
            "UnsubscribeURL": f"{service}/?Action=Unsubscribe",
        }
        if subject is not None:
            envelope["Subject"] = subject
        if attributes:
            envelope["MessageAttributes"] = {
                name: {
                    "Type": value["DataType"],
                    "Value": value.get("StringValue", value.get("BinaryValue")),
                }
                for name, value in attributes.items()
            }
        return orjson.dumps(envelope).decode()


def _wanted(subscription: Subscription, message: str, attributes: Attributes) -> bool:
    if subscription.policy is None:
        return True
    if subscription.scope == "MessageAttributes":
        values = {name: value.get("StringValue") for name, value in attributes.items()}
        return matches(subscription.policy, values)
    try:
        document = orjson.loads(message)
    except orjson.JSONDecodeError:
        return False
    return matches(subscription.policy, document)
