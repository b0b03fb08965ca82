"""SNS over its query protocol."""

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

import orjson

from dispatcher.emulator.auth.refusals import CommonSignatureRefusals
from dispatcher.emulator.gateway.call import Call
from dispatcher.emulator.http.message import HttpRequest, HttpResponse, Refusal
from dispatcher.emulator.sns.filter_policy import check_policy
from dispatcher.emulator.sns.topics import Attributes, PolicyScope, Subscription, Topics
from dispatcher.emulator.sqs.messages import FORBIDDEN, attributes_md5

MESSAGE_BYTES = 262_144
"""Largest message in bytes of UTF-8 (D: 256 KB)."""

_NAMESPACE = "http://sns.amazonaws.com/doc/2010-03-31/"
_TOPIC_NAME = re.compile(r"[A-Za-z0-9_-]{1,256}")
_BOOLEANS = {"true": True, "false": False}
_SCOPES: dict[str, PolicyScope] = {
    "MessageAttributes": "MessageAttributes",
    "MessageBody": "MessageBody",
}

Form = dict[str, str]


class Sns:
    """Answers SNS calls.

    Args:
        topics: The topics.
    """

    request_id_header = "x-amzn-RequestId"
    missing_signature = Refusal(
        403, "MissingAuthenticationToken", "Request is missing Authentication Token"
    )
    access_denied = Refusal(403, "AuthorizationError", "The caller is not authorized.")
    malformed_body = "MalformedQueryString"
    signature_refusals = CommonSignatureRefusals(
        wrong="SignatureDoesNotMatch", unknown_key="InvalidClientTokenId"
    )

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._actions: dict[str, Callable[[Form], str]] = {
            "CreateTopic": self._create_topic,
            "DeleteTopic": self._delete_topic,
            "GetTopicAttributes": self._get_topic_attributes,
            "ListTopics": self._list_topics,
            "Subscribe": self._subscribe,
            "Unsubscribe": self._unsubscribe,
            "SetSubscriptionAttributes": self._set_subscription_attributes,
            "ListSubscriptionsByTopic": self._list_subscriptions,
            "Publish": self._publish,
        }

    def read_call(self, request: HttpRequest) -> Call:
        """Return the call that a request makes, which has no names here."""
        del request
        return Call("sns", "")

    def answer(self, request: HttpRequest) -> HttpResponse:
        """Answer a signed request."""
        form = dict(
            parse_qsl(request.body.read().decode("utf-8", "replace"), keep_blank_values=True)
        )
        name = form.get("Action", "")
        action = self._actions.get(name)
        if action is None:
            raise Refusal(400, "InvalidAction", f"The emulator does not play {name!r}.")
        result = action(form)
        body = (
            f'<{name}Response xmlns="{_NAMESPACE}"><{name}Result>{result}</{name}Result>'
            f"</{name}Response>"
        )
        return HttpResponse(200, {"Content-Type": "text/xml"}, body.encode())

    def refuse(self, request: HttpRequest, refusal: Refusal) -> HttpResponse:
        """Answer with an error in SNS's shape."""
        del request
        side = "Sender" if refusal.status < 500 else "Receiver"
        body = (
            f'<ErrorResponse xmlns="{_NAMESPACE}"><Error><Type>{side}</Type>'
            f"<Code>{refusal.code}</Code><Message>{escape(refusal.message or '')}</Message>"
            "</Error></ErrorResponse>"
        )
        return HttpResponse(refusal.status, {"Content-Type": "text/xml"}, body.encode())

    # Topics

    def _create_topic(self, form: Form) -> str:
        name = form.get("Name", "")
        if not _TOPIC_NAME.fullmatch(name):
            raise _invalid("Topic Name")
        return f"<TopicArn>{self._topics.create(name)}</TopicArn>"

    def _delete_topic(self, form: Form) -> str:
        self._topics.delete(form.get("TopicArn", ""))
        return ""

    def _get_topic_attributes(self, form: Form) -> str:
        arn = self._topic(form)
        confirmed = str(len(self._topics.topics[arn]))
        return _map("Attributes", {"TopicArn": arn, "SubscriptionsConfirmed": confirmed})

    def _list_topics(self, form: Form) -> str:
        del form
        members = (f"<member><TopicArn>{a}</TopicArn></member>" for a in self._topics.topics)
        return f"<Topics>{''.join(members)}</Topics>"

    def _topic(self, form: Form) -> str:
        arn = form.get("TopicArn") or form.get("TargetArn") or ""
        if arn not in self._topics.topics:
            raise Refusal(404, "NotFound", "Topic does not exist")
        return arn

    # Subscriptions

    def _subscribe(self, form: Form) -> str:
        topic = self._topic(form)
        if form.get("Protocol") != "sqs":
            raise _invalid("Protocol: the emulator delivers to sqs only")
        queue = form.get("Endpoint", "")
        if not queue.startswith("arn:aws:sqs:"):
            raise _invalid("SQS endpoint ARN")
        # Checked on a draft first: a refusal must leave no subscription behind.
        attributes = _numbered_map(form, "Attributes.entry", "key", "value")
        draft = Subscription(arn="", topic_arn=topic, queue_arn=queue)
        for name, value in attributes.items():
            _set_attribute(draft, name, value)
        subscription = self._topics.subscribe(topic, queue)
        for name, value in attributes.items():
            _set_attribute(subscription, name, value)
        return f"<SubscriptionArn>{subscription.arn}</SubscriptionArn>"

    def _unsubscribe(self, form: Form) -> str:
        self._topics.unsubscribe(form.get("SubscriptionArn", ""))
        return ""

    def _set_subscription_attributes(self, form: Form) -> str:
        subscription = self._topics.subscriptions.get(form.get("SubscriptionArn", ""))
        if subscription is None:
            raise Refusal(404, "NotFound", "Subscription does not exist")
        _set_attribute(subscription, form.get("AttributeName", ""), form.get("AttributeValue", ""))
        return ""

    def _list_subscriptions(self, form: Form) -> str:
        members = (
            f"<member><SubscriptionArn>{s.arn}</SubscriptionArn><TopicArn>{s.topic_arn}</TopicArn>"
            f"<Protocol>sqs</Protocol><Endpoint>{escape(s.queue_arn)}</Endpoint></member>"
            for s in self._topics.topics[self._topic(form)].values()
        )
        return f"<Subscriptions>{''.join(members)}</Subscriptions>"

    def _publish(self, form: Form) -> str:
        topic = self._topic(form)
        message = form.get("Message", "")
        if not message:
            raise _invalid("Empty message")
        if len(message.encode()) > MESSAGE_BYTES:
            raise _invalid("Message too long")
        if FORBIDDEN.search(message):
            raise _invalid("Message: holds characters that XML 1.0 does not know")
        attributes = _message_attributes(form)
        try:
            attributes_md5(attributes or {})
        except ValueError as error:
            raise _invalid(f"MessageAttributes: {error} has no type or value") from None
        message_id = self._topics.publish(
            topic, message, attributes=attributes, subject=form.get("Subject")
        )
        return f"<MessageId>{message_id}</MessageId>"


def _set_attribute(subscription: Subscription, name: str, value: str) -> None:
    match name:
        case "RawMessageDelivery":
            if value.lower() not in _BOOLEANS:
                raise _invalid("RawMessageDelivery: must be true or false")
            subscription.raw = _BOOLEANS[value.lower()]
        case "FilterPolicy":
            subscription.policy = _policy(value)
        case "FilterPolicyScope":
            if value not in _SCOPES:
                raise _invalid("FilterPolicyScope")
            subscription.scope = _SCOPES[value]
        case _:
            raise _invalid(f"AttributeName: the emulator does not know {name!r}")


def _policy(text: str) -> dict[str, Any] | None:
    try:
        policy = orjson.loads(text or "{}")
        check_policy(policy)
    except ValueError as error:  # JSONDecodeError is one
        raise _invalid(str(error)) from None
    return policy or None


def _message_attributes(form: Form) -> Attributes | None:
    attributes: Attributes = {}
    for prefix in _numbered(form, "MessageAttributes.entry", ".Name"):
        attribute = {"DataType": form.get(f"{prefix}.Value.DataType", "String")}
        for kind in ("StringValue", "BinaryValue"):
            value = form.get(f"{prefix}.Value.{kind}")
            if value is not None:
                attribute[kind] = value
        attributes[form[f"{prefix}.Name"]] = attribute
    return attributes or None


def _numbered_map(form: Form, prefix: str, key: str, value: str) -> dict[str, str]:
    return {
        form[f"{entry}.{key}"]: form.get(f"{entry}.{value}", "")
        for entry in _numbered(form, prefix, f".{key}")
    }


def _numbered(form: Form, prefix: str, suffix: str) -> Iterator[str]:
    number = 1
    while f"{prefix}.{number}{suffix}" in form:
        yield f"{prefix}.{number}"
        number += 1


def _map(name: str, values: dict[str, str]) -> str:
    entries = (
        f"<entry><key>{key}</key><value>{escape(value)}</value></entry>"
        for key, value in values.items()
    )
    return f"<{name}>{''.join(entries)}</{name}>"


def _invalid(what: str) -> Refusal:
    return Refusal(400, "InvalidParameter", f"Invalid parameter: {what}")
