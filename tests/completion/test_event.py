"""Every captured form of a completion message, and junk of every kind."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.aws.requests import Location
from dispatcher.completion.event import Completion, NoCompletion, invocation_at, parse

SUCCESS: dict[str, Any] = {
    "awsRegion": "eu-central-1",
    "eventTime": "2023-01-29T16:59:09.174Z",
    "receivedTime": "2023-01-29T16:49:47.144Z",
    "invocationStatus": "Completed",
    "requestParameters": {
        "endpointName": "ep",
        "inputLocation": "s3://in/x.json",
        "contentType": "application/json",
        "accept": "*/*",
        "customAttributes": "a=b",
    },
    "responseParameters": {
        "contentType": "application/json",
        "outputLocation": "s3://out/37a32ca5.out",
    },
    "inferenceId": "4bad2b42",
    "eventVersion": "1.0",
    "eventSource": "aws:sagemaker",
    "eventName": "InferenceResult",
}
REASON = "ClientError: Received client error (400) from model. See the SageMaker Endpoint logs"
FAILURE: dict[str, Any] = {
    "awsRegion": "eu-central-1",
    "eventTime": "2023-01-29T16:59:09.174Z",
    "receivedTime": "2023-01-29T16:59:09.074Z",
    "invocationStatus": "Failed",
    "failureReason": REASON,
    "requestParameters": {"endpointName": "ep"},
    "inferenceId": "4bad2b42",
    "eventVersion": "1.0",
    "eventSource": "aws:sagemaker",
    "eventName": "InferenceResult",
}


def wrapped(message: object) -> str:
    return json.dumps(
        {
            "Type": "Notification",
            "MessageId": "22b80b92",
            "TopicArn": "arn:aws:sns:eu-central-1:123456789012:success",
            "Message": message if isinstance(message, str) else json.dumps(message),
            "Timestamp": "2023-01-29T16:59:09.300Z",
            "SignatureVersion": "1",
            "Signature": "c2ln",
            "SigningCertURL": "https://sns.eu-central-1.amazonaws.com/cert.pem",
            "UnsubscribeURL": "https://sns.eu-central-1.amazonaws.com/?Action=Unsubscribe",
        }
    )


def only(text: str) -> Completion:
    (part,) = parse(text)
    assert isinstance(part, Completion)
    return part


@pytest.mark.parametrize("deliver", [json.dumps, wrapped], ids=["raw", "wrapped"])
def test_a_success(deliver: Any) -> None:
    completion = only(deliver(SUCCESS))
    assert completion.service_seconds == pytest.approx(562.03)
    assert completion == Completion(
        "completed",
        "4bad2b42",
        Location("out", "37a32ca5.out"),
        body=None,
        content_type="application/json",
        reason="",
        service_seconds=completion.service_seconds,
    )


@pytest.mark.parametrize("deliver", [json.dumps, wrapped], ids=["raw", "wrapped"])
@pytest.mark.parametrize(
    ("parameters", "location"),
    [
        ({}, None),
        ({"responseParameters": None}, None),
        ({"responseParameters": {}}, None),
        (
            {"responseParameters": {"failureLocation": "s3://fail/37a32ca5-error.out"}},
            Location("fail", "37a32ca5-error.out"),
        ),
    ],
    ids=["absent", "null", "empty", "given"],
)
def test_a_failure(deliver: Any, parameters: dict[str, Any], location: Location | None) -> None:
    completion = only(deliver(FAILURE | parameters))
    assert (completion.kind, completion.invocation) == ("failed", "4bad2b42")
    assert completion.reason == REASON
    assert completion.location == location
    assert completion.body is None
    assert completion.service_seconds == pytest.approx(0.1)


def test_a_failure_with_its_response() -> None:
    body = base64.b64encode(b"Traceback: no").decode()
    response_body = {"content": body, "message": "", "encoding": "BASE64"}
    assert only(json.dumps(FAILURE | {"responseBody": response_body})).body == b"Traceback: no"


def test_expired() -> None:
    completion = only(json.dumps(FAILURE | {"invocationStatus": "Expired"}))
    assert (completion.kind, completion.invocation) == ("expired", "4bad2b42")


@pytest.mark.parametrize(
    ("response_body", "body"),
    [
        ({"content": "eyJhIjogMX0=", "message": "m", "encoding": "BASE64"}, b'{"a": 1}'),
        ({"content": "AP+A"}, b"\x00\xff\x80"),
        ({"message": "too large"}, None),
        ({"content": None, "encoding": "BASE64"}, None),
        ({"content": "", "encoding": "BASE64"}, None),
        ({"content": "not base64!", "encoding": "BASE64"}, None),
        ({"content": "abcde", "encoding": "BASE64"}, None),
        ({"content": "\u00e9\u00e9\u00e9\u00e9", "encoding": "BASE64"}, None),
        ({"content": '{"a": 1}', "encoding": "UTF8"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_the_response_travels_in_the_event_or_lies_in_the_object(
    response_body: dict[str, Any] | None, body: bytes | None
) -> None:
    completion = only(json.dumps(SUCCESS | {"responseBody": response_body}))
    assert completion.body == body
    assert completion.location == Location("out", "37a32ca5.out")


@pytest.mark.parametrize(
    ("location", "parsed"),
    [
        ("s3://b/k", Location("b", "k")),
        ("s3://b/a/b c+d%20.out", Location("b", "a/b c+d%20.out")),
        ("https://b.s3.eu-west-1.amazonaws.com/a/k.out", Location("b", "a/k.out")),
        ("https://b.s3-eu-west-1.amazonaws.com/k.out", Location("b", "k.out")),
        ("https://b.s3.amazonaws.com/k.out", Location("b", "k.out")),
        ("https://dotted.name.s3.eu-west-1.amazonaws.com/k", Location("dotted.name", "k")),
        ("https://s3.eu-west-1.amazonaws.com/b/a/k.out", Location("b", "a/k.out")),
        ("https://s3.amazonaws.com/b/k.out", Location("b", "k.out")),
        ("https://b.s3.cn-north-1.amazonaws.com.cn/k.out", Location("b", "k.out")),
        ("https://b.s3.dualstack.eu-west-1.amazonaws.com/k.out", Location("b", "k.out")),
        ("s3://b/", None),
        ("s3://b", None),
        ("https://example.com/b/k", None),
        ("", None),
        (None, None),
    ],
)
def test_locations_in_all_styles(location: str | None, parsed: Location | None) -> None:
    event = SUCCESS | {"responseParameters": {"outputLocation": location}}
    assert only(json.dumps(event)).location == parsed


def test_without_an_id_the_name_of_the_object_shows_it() -> None:
    event = SUCCESS | {"responseParameters": {"outputLocation": "s3://out/tag/0/the-id.out"}}
    del event["inferenceId"]
    assert only(json.dumps(event)).invocation == "the-id"
    event = FAILURE | {"responseParameters": {"failureLocation": "s3://out/the-id-error.out"}}
    assert only(json.dumps(event | {"inferenceId": None})).invocation == "the-id"


@pytest.mark.parametrize(
    "times",
    [
        {},
        {"receivedTime": "2023-01-29T16:49:47.144Z"},
        {"receivedTime": "soon", "eventTime": "later"},
        {"receivedTime": 5, "eventTime": None},
        {"receivedTime": "2023-01-29T16:49:47", "eventTime": "2023-01-29T16:49:48Z"},
    ],
)
def test_times_that_say_nothing(times: dict[str, Any]) -> None:
    event = {name: value for name, value in SUCCESS.items() if not name.endswith("Time")}
    assert only(json.dumps(event | times)).service_seconds is None


def test_a_clock_that_runs_backwards_counts_as_no_time() -> None:
    times = {"receivedTime": "2023-01-29T16:00:00Z", "eventTime": "2023-01-29T15:00:00Z"}
    assert only(json.dumps(SUCCESS | times)).service_seconds == 0.0


@pytest.mark.parametrize("deliver", [json.dumps, wrapped], ids=["raw", "wrapped"])
@pytest.mark.parametrize(
    "event",
    [
        {"eventSource": "aws:sagemaker", "eventName": "TestNotification"},
        {
            "Service": "Amazon S3",
            "Event": "s3:TestEvent",
            "Time": "2023-01-29T16:59:09.174Z",
            "Bucket": "out",
            "RequestId": "5582815E1AEA5ADF",
            "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR",
        },
    ],
    ids=["sagemaker", "s3"],
)
def test_test_events(deliver: Any, event: object) -> None:
    assert parse(deliver(event)) == [NoCompletion("test")]


def test_a_subscription_to_confirm_is_not_for_us() -> None:
    event = {"Type": "SubscriptionConfirmation", "Message": "You have chosen", "Token": "t"}
    assert parse(json.dumps(event)) == [NoCompletion("malformed")]


def s3_record(key: str, name: str | None = "ObjectCreated:Put") -> dict[str, Any]:
    record: dict[str, Any] = {
        "eventVersion": "2.3",
        "eventSource": "aws:s3",
        "s3": {"bucket": {"name": "out"}, "object": {"key": key, "size": 5}},
    }
    return record if name is None else record | {"eventName": name}


@pytest.mark.parametrize("deliver", [json.dumps, wrapped], ids=["raw", "wrapped"])
@pytest.mark.parametrize(
    "name",
    ["ObjectCreated:Put", "ObjectCreated:CompleteMultipartUpload", "s3:ObjectCreated:Put", None],
)
def test_an_s3_event_announces_each_object(deliver: Any, name: str | None) -> None:
    records = [s3_record("tag/0/one.out", name), s3_record("tag/0/two-error.out", name)]
    assert parse(deliver({"Records": records})) == [
        Completion("completed", "one", Location("out", "tag/0/one.out")),
        Completion("failed", "two", Location("out", "tag/0/two-error.out")),
    ]


def test_keys_of_s3_events_are_encoded() -> None:
    completion = only(json.dumps({"Records": [s3_record("a+b/c%2Bd/%C3%A9/x.out")]}))
    assert completion.location == Location("out", "a b/c+d/\u00e9/x.out")


def bridge(key: str, kind: str = "Object Created") -> str:
    detail = {"bucket": {"name": "out"}, "object": {"key": key, "size": 5}, "reason": "PutObject"}
    return json.dumps({"version": "0", "detail-type": kind, "source": "aws.s3", "detail": detail})


def test_keys_of_eventbridge_are_not() -> None:
    completion = only(bridge("a+b/c%2Bd/x.out"))
    assert completion == Completion("completed", "x", Location("out", "a+b/c%2Bd/x.out"))


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"Records": [s3_record("tag/0/one.out", "ObjectRemoved:Delete")]}),
        json.dumps({"Records": [s3_record("staged/tag/0/one")]}),
        bridge("tag/0/one.out", "Object Deleted"),
        bridge("staged/tag/0/one"),
    ],
    ids=["removed", "input", "bridge-removed", "bridge-input"],
)
def test_an_object_that_is_no_new_output_completes_nothing(text: str) -> None:
    assert parse(text) == [NoCompletion("foreign")]


@pytest.mark.parametrize(
    ("key", "invocation"),
    [
        ("a/b/x.out", "x"),
        ("x.out", "x"),
        ("a/x-error.out", "x"),
        ("a/x.out-error.out", "x"),
        ("a.out/x", "x"),
    ],
)
def test_the_id_in_a_name(key: str, invocation: str) -> None:
    assert invocation_at(Location("b", key)) == invocation


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "hello",
        "null",
        "5",
        "[]",
        '"text"',
        "{}",
        '{"Records": []}',
        '{"Records": {}}',
        '{"Records": 5}',
        '{"Records": [{}]}',
        '{"Records": [{"s3": {"bucket": {"name": 5}, "object": {"key": "x.out"}}}]}',
        '{"Records": [{"s3": {"bucket": {"name": "b"}, "object": {"key": null}}}]}',
        '{"detail": {"object": 5, "bucket": 5}}',
        '{"detail": {"object": {"key": ["x.out"]}, "bucket": {"name": "b"}}}',
        '{"invocationStatus": ["Completed"]}',
        '{"invocationStatus": "Running"}',
        '{"invocationStatus": "Completed", "responseParameters": [1]}',
        '{"Type": "Notification", "Message": 5}',
        '{"Type": "Notification", "Message": "hello"}',
        '{"Type": "Notification", "Message": {"invocationStatus": "Completed"}}',
        "\ud800",
        "[" * 5000,
    ],
)
def test_what_is_not_understood_is_malformed(text: str) -> None:
    assert parse(text) == [NoCompletion("malformed")]


@pytest.mark.parametrize("wrong", [5, ["x"], {"a": 1}, True, None])
def test_fields_of_a_wrong_type_are_as_good_as_missing(wrong: object) -> None:
    event = SUCCESS | {
        "inferenceId": wrong,
        "responseParameters": {"contentType": wrong, "outputLocation": "s3://out/x.out"},
        "receivedTime": wrong,
    }
    completion = only(json.dumps(event))
    assert (completion.invocation, completion.content_type) == ("x", None)
    assert completion.service_seconds is None


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "Type",
                    "Message",
                    "Records",
                    "detail",
                    "object",
                    "bucket",
                    "key",
                    "name",
                    "s3",
                    "eventName",
                    "Event",
                    "invocationStatus",
                    "inferenceId",
                    "responseParameters",
                    "outputLocation",
                    "responseBody",
                    "content",
                    "encoding",
                    "receivedTime",
                    "eventTime",
                    "failureReason",
                    "contentType",
                    "detail-type",
                ]
            ),
            inner
            | st.sampled_from(["Completed", "Failed", "Notification", "s3://b/k.out", "x.out"]),
            max_size=6,
        )
    ),
    max_leaves=12,
)


def assert_usable(parts: list[Completion | NoCompletion]) -> None:
    assert parts
    for part in parts:
        if isinstance(part, Completion):
            assert part.invocation is None or isinstance(part.invocation, str)
            assert part.body is None or isinstance(part.body, bytes)
            assert part.content_type is None or isinstance(part.content_type, str)
            assert isinstance(part.reason, str)
            if part.location is not None:
                assert isinstance(part.location.bucket, str)
                assert isinstance(part.location.key, str)


@given(json_values)
def test_any_json_is_read_without_a_fault(value: object) -> None:
    assert_usable(parse(json.dumps(value)))
    assert_usable(parse(wrapped(value)))


@given(
    base=st.sampled_from([SUCCESS, FAILURE]),
    field=st.sampled_from([*SUCCESS, "failureReason", "responseBody"]),
    value=json_values,
)
def test_any_field_may_hold_anything(base: dict[str, Any], field: str, value: object) -> None:
    assert_usable(parse(json.dumps(base | {field: value})))


@given(st.text())
def test_any_text_is_read_without_a_fault(text: str) -> None:
    assert_usable(parse(text))
