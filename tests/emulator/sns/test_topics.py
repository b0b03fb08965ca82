"""Delivery of a topic's messages, through aioboto3."""

import json
from typing import Any


async def test_topic_delivers_raw_wrapped_and_filtered(clients: dict[str, Any], queue: str) -> None:
    sns, sqs = clients["sns"], clients["sqs"]
    topic = (await sns.create_topic(Name="t"))["TopicArn"]
    arn = (await sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"]))[
        "Attributes"
    ]["QueueArn"]
    subscribed = await sns.subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=arn,
        Attributes={"FilterPolicyScope": "MessageBody", "FilterPolicy": '{"a": ["x"]}'},
    )
    listed = await sns.list_subscriptions_by_topic(TopicArn=topic)
    assert [s["Endpoint"] for s in listed["Subscriptions"]] == [arn]

    async def publish_and_take(message: str) -> list[str]:
        await sns.publish(TopicArn=topic, Message=message, Subject="s & t")
        got = await sqs.receive_message(QueueUrl=queue)
        bodies = [m["Body"] for m in got.get("Messages", [])]
        await sqs.purge_queue(QueueUrl=queue)
        return bodies

    assert await publish_and_take('{"a": "y"}') == []
    assert await publish_and_take("no json") == []
    (envelope,) = await publish_and_take('{"a": "x"}')
    assert json.loads(envelope)["Message"] == '{"a": "x"}'
    assert json.loads(envelope)["Subject"] == "s & t"
    for name, value in (("RawMessageDelivery", "true"), ("FilterPolicy", "{}")):
        await sns.set_subscription_attributes(
            SubscriptionArn=subscribed["SubscriptionArn"], AttributeName=name, AttributeValue=value
        )
    assert await publish_and_take("no json") == ["no json"]
    await sns.unsubscribe(SubscriptionArn=subscribed["SubscriptionArn"])
    assert await publish_and_take("nobody") == []
