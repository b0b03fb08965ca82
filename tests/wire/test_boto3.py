"""Plain current boto3 against the emulator; the calls are in ``boto3_drive.py``."""

import base64
import json
import re
import time
import zlib
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

Found = dict[str, Any]

WRONG = "InvalidSignatureException"

pytestmark = pytest.mark.timeout(300)  # the first one may have to install boto3


def event_of(found: Found, inference_id: str) -> dict[str, Any]:
    (event,) = [e for e in found["raw_events"] if e["inferenceId"] == inference_id]
    return dict(event)


def test_inline_invocation_is_accepted_with_locations(found: Found) -> None:
    assert found["inline"] == {
        "status": 202,
        "InferenceId": "mine-1",
        "OutputLocation": "s3://emulator-output/emulated/output/run/07/mine-1.json",
        "FailureLocation": "s3://emulator-output/emulated/failure/run/07/mine-1-error.out",
    }


def test_service_makes_names_that_have_nothing_to_do_with_the_id(found: Found) -> None:
    staged = found["staged"]
    name = re.fullmatch(
        r"s3://emulator-output/emulated/output/([0-9a-f-]{36})\.out", staged["OutputLocation"]
    )
    assert name
    assert name[1] != staged["InferenceId"]
    assert staged["FailureLocation"].endswith(f"/emulated/failure/{name[1]}-error.out")


def test_endpoint_has_tested_both_of_its_topics(found: Found) -> None:
    note = {"eventSource": "aws:sagemaker", "eventName": "TestNotification"}
    assert found["test_events"] == [note, note]


def test_raw_event_of_an_inline_invocation(found: Found) -> None:
    event = event_of(found, "mine-1")
    assert event["invocationStatus"] == "Completed"
    assert event["eventName"] == "InferenceResult"
    assert event["requestParameters"] == {
        "endpointName": "emulated",
        "contentType": "application/json",
        "accept": "application/json",
        "customAttributes": "trace=1",
    }
    assert event["responseParameters"] == {
        "contentType": "application/json",
        "outputLocation": found["inline"]["OutputLocation"],
    }
    assert event["receivedTime"] <= event["eventTime"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["eventTime"])


def test_raw_event_of_a_staged_invocation_names_its_input(found: Found) -> None:
    event = event_of(found, found["staged"]["InferenceId"])
    assert event["requestParameters"]["inputLocation"] == "s3://emulator-input/in/big.bin"


def test_missing_input_fails_the_invocation_not_the_call(found: Found) -> None:
    event = event_of(found, found["missing"]["InferenceId"])
    assert event["invocationStatus"] == "Failed"
    assert "not/there" in event["failureReason"]
    assert "NoSuchKey" in found["missing_failure"]


def test_wrapped_events_hold_the_raw_ones(found: Found) -> None:
    assert [e["Type"] for e in found["wrapped_events"]] == ["Notification"] * 2
    assert {e["TopicArn"].rpartition(":")[2] for e in found["wrapped_events"]} == {
        "emulated-success"
    }
    inner = [json.loads(e["Message"])["inferenceId"] for e in found["wrapped_events"]]
    assert sorted(inner) == sorted(["mine-1", found["staged"]["InferenceId"]])


def test_filter_policy_gives_a_worker_its_own_events_only(found: Found) -> None:
    assert [e["inferenceId"] for e in found["filtered_events"]] == ["mine-1"]


def test_outputs_are_the_models_answers(found: Found) -> None:
    assert found["inline_output"] == {
        "body": '{"text": "one two"}',
        "type": "application/json",
    }
    assert found["staged_output_bytes"] == 200_000


def test_endpoint_describes_itself(found: Found) -> None:
    described = found["described"]
    assert described["status"] == "InService"
    assert described["output"]["S3OutputPath"] == "s3://emulator-output/emulated/output"
    assert described["output"]["S3FailurePath"] == "s3://emulator-output/emulated/failure"


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("both", "mutually exclusive"),
        ("neither", "missing"),
        ("empty_body", "missing"),
        ("body_long", "128000"),
        ("input_location_long", "'inputLocation'.*1024"),
        ("input_location_pattern", "'inputLocation'.*pattern"),
        ("content_type_long", "'contentType'.*1024"),
        ("accept_long", "'accept'.*1024"),
        ("custom_attributes_long", "'customAttributes'.*1024"),
        ("inference_id_long", "'inferenceId'.*64"),
        ("inference_id_pattern", "'inferenceId'.*pattern"),
        ("extension_long", "'s3OutputPathExtension'.*512"),
        ("extension_scheme", "'s3OutputPathExtension'.*pattern"),
        ("extension_pattern", "'s3OutputPathExtension'.*pattern"),
        ("filename_long", "'filename'.*32"),
        ("filename_two_dots", "'filename'.*pattern"),
        ("filename_pattern", "'filename'.*pattern"),
        ("ttl_large", "'requestTTLSeconds'.*21600"),
        ("timeout_large", "'invocationTimeoutSeconds'.*3600"),
        ("unknown_endpoint", "Endpoint not-there of account 000000000000 not found"),
    ],
)
def test_validation_error_is_the_modelled_exception(found: Found, case: str, words: str) -> None:
    refusal = found["refusals"][case]
    assert refusal["class"] == "ValidationError", refusal
    assert refusal["code"] == "ValidationError"
    assert refusal["status"] == 400
    assert re.search(words, refusal["message"]), refusal["message"]


def test_every_refusal_is_judged(found: Found) -> None:
    marks = test_validation_error_is_the_modelled_exception.pytestmark  # type: ignore[attr-defined]
    assert {case for case, _ in marks[0].args[1]} == set(found["refusals"])


def test_values_at_their_limits_are_accepted(found: Found) -> None:
    assert found["at_the_limit"] is None


def test_throttling_has_its_odd_shape(found: Found) -> None:
    throttled = found["throttled"]
    assert throttled["status"] == 400
    assert throttled["code"] == "ThrottlingException"
    assert throttled["message"] is None
    assert throttled["headers"]["x-amzn-errortype"].startswith("ThrottlingException:http://")


def test_unsigned_call_is_refused(found: Found) -> None:
    assert found["unsigned"]["status"] == 403
    assert found["unsigned"]["code"] == "MissingAuthenticationTokenException"


@pytest.mark.parametrize(
    ("service", "code"),
    [
        ("sagemaker", "AccessDeniedException"),
        ("s3", "AccessDenied"),
        ("sqs", "AccessDeniedException"),
    ],
)
def test_denied_key_is_denied_by_every_service(found: Found, service: str, code: str) -> None:
    assert found["denied"][service]["status"] == 403
    assert found["denied"][service]["code"] == code


def test_control_plane_does_not_find_an_unknown_endpoint(found: Found) -> None:
    refusal = found["control_plane_unknown"]
    assert refusal["code"] == "ValidationException"
    assert "Could not find endpoint" in refusal["message"]


def test_large_objects_go_up_and_down_in_parts(found: Found) -> None:
    assert found["multipart_round_trip"]
    assert found["multipart_etag"].endswith('-3"')


def test_listing_pages_through_odd_keys(found: Found) -> None:
    assert found["listed"] == ["dir/a b+c%20/ü?&=#.json", "dir/large.bin"]
    assert found["odd_key"] == {"body": "odd", "metadata": {"who": "me"}}
    assert found["deleted"] == ["dir/a b+c%20/ü?&=#.json"]


def test_aws_chunked_upload_arrives_without_its_framing(found: Found) -> None:
    assert found["aws_chunked"] == len(b"streamed " * 1000)


def test_the_options_of_an_object_are_shown(found: Found) -> None:
    assert found["kept"].keys() == {"put", "get", "head", "complete", "head of parts"}
    assert all(kept == ["aws:kms", "k"] for kept in found["kept"].values())
    assert found["tags"] == {"a": "1", "b": "x y"}


def test_what_s3_does_not_keep_is_refused(found: Found) -> None:
    assert found["keeping_refused"] == [
        "InvalidEncryptionAlgorithmError",
        "InvalidArgument",
        "BadRequest",
        *["InvalidTag"] * 3,
        "InvalidArgument",
    ]


def test_an_upload_in_parts_is_checked(found: Found) -> None:
    assert found["upload_refused"] == ["BadDigest", "InvalidPart", "InvalidRequest"]
    crc = zlib.crc32(b"p" * (5 << 20)).to_bytes(4, "big")
    whole = base64.b64encode(zlib.crc32(crc + crc).to_bytes(4, "big")).decode()
    assert found["composite"] == f"{whole}-2"
    assert found["uploads"] == [True, True]


def test_what_is_missing_has_the_right_code(found: Found) -> None:
    assert found["s3_missing"]["key"]["class"] == "NoSuchKey"
    assert found["s3_missing"]["head"]["code"] == "404"
    assert found["s3_missing"]["bucket"]["class"] == "NoSuchBucket"
    assert found["sqs_missing"]["class"] == "QueueDoesNotExist"
    assert found["sqs_missing"]["code"] == "AWS.SimpleQueueService.NonExistentQueue"


def test_no_event_carries_a_response_unless_configured(found: Found) -> None:
    assert not [e for e in found["raw_events"] if "responseBody" in e]


@pytest.mark.parametrize("case", ["odd_keys_read", "odd_keys_listed"])
def test_signed_calls_reach_objects_whatever_their_keys(found: Found, case: str) -> None:
    seen, expected = found[case]
    assert seen == expected


def test_signed_listings_and_deletions_take_any_key(found: Found) -> None:
    assert all(found["odd_prefixes_found"])
    assert found["odd_keys_left"] == 0


def test_presigned_urls_hold_for_what_they_name_only(found: Found) -> None:
    assert found["presigned_PUT"] == ""
    assert found["presigned_GET"] == "signed before"
    assert "<Code>SignatureDoesNotMatch</Code>" in found["presigned_other"]


@pytest.mark.parametrize(
    ("service", "secret", "key", "clock"),
    [
        ("sagemaker-runtime", WRONG, "UnrecognizedClientException", WRONG),
        ("sagemaker", WRONG, "UnrecognizedClientException", WRONG),
        ("s3", "SignatureDoesNotMatch", "InvalidAccessKeyId", "RequestTimeTooSkewed"),
        ("sqs", WRONG, "InvalidClientTokenId", WRONG),
        ("sns", "SignatureDoesNotMatch", "InvalidClientTokenId", "SignatureDoesNotMatch"),
    ],
)
def test_what_is_wrongly_signed_is_refused_in_the_services_words(
    found: Found, service: str, secret: str, key: str, clock: str
) -> None:
    refused = found["wrongly_signed"][service]
    for case, code in (("secret", secret), ("key", key), ("clock", clock)):
        assert (refused[case]["status"], refused[case]["code"]) == (403, code), case
    if service != "s3":
        assert "Signature expired" in refused["clock"]["message"]
        assert refused["region"]["code"] == secret


def test_right_signature_of_temporary_credentials_is_accepted(found: Found) -> None:
    for service, refused in found["wrongly_signed"].items():
        assert refused["nothing"]["class"] is None, service


def test_clock_is_corrected_by_the_date_of_a_refusal(found: Found) -> None:
    headers = found["wrongly_signed"]["s3"]["clock"]["headers"]
    ahead = parsedate_to_datetime(headers["date"]).timestamp() - time.time()
    assert 3000 < ahead < 3700
