"""``dispatcher.limits`` against the service model of the current botocore."""

import re
from typing import Any

import pytest

from dispatcher import limits
from dispatcher.emulator.sagemaker import invocation

Found = dict[str, Any]

pytestmark = pytest.mark.timeout(300)  # the first one may have to install boto3


def metadata(found: Found, parameter: str) -> dict[str, Any]:
    return dict(found["model"][parameter]["metadata"])


def test_model_is_one_that_knows_inline_bodies(found: Found) -> None:
    assert found["model"]["Body"]["type"] == "blob"


@pytest.mark.parametrize(
    ("parameter", "maximum"),
    [
        ("EndpointName", limits.ENDPOINT_NAME_CHARS),
        ("Body", limits.INLINE_BODY_BYTES),
        ("InputLocation", limits.INPUT_LOCATION_CHARS),
        ("ContentType", limits.HEADER_CHARS),
        ("Accept", limits.HEADER_CHARS),
        ("CustomAttributes", limits.HEADER_CHARS),
        ("InferenceId", limits.INFERENCE_ID_CHARS),
        ("S3OutputPathExtension", limits.OUTPUT_EXTENSION_CHARS),
        ("Filename", limits.FILENAME_CHARS),
        ("RequestTTLSeconds", limits.REQUEST_TTL_SECONDS[1]),
        ("InvocationTimeoutSeconds", limits.INVOCATION_TIMEOUT_SECONDS[1]),
    ],
)
def test_maximum_is_the_models(found: Found, parameter: str, maximum: int) -> None:
    assert metadata(found, parameter)["max"] == maximum


@pytest.mark.parametrize(
    ("parameter", "least"),
    [
        ("InputLocation", 1),
        ("InferenceId", 1),
        ("S3OutputPathExtension", 1),
        ("Filename", 1),
        ("RequestTTLSeconds", limits.REQUEST_TTL_SECONDS[0]),
        ("InvocationTimeoutSeconds", limits.INVOCATION_TIMEOUT_SECONDS[0]),
    ],
)
def test_minimum_is_the_models(found: Found, parameter: str, least: int) -> None:
    # Through botocore's Shape.metadata, which leaves out nothing that is 1 or more.
    assert metadata(found, parameter)["min"] == least


@pytest.mark.parametrize(
    ("parameter", "pattern"),
    [
        ("EndpointName", limits.ENDPOINT_NAME_PATTERN),
        ("InputLocation", limits.INPUT_LOCATION_PATTERN),
        ("S3OutputPathExtension", limits.OUTPUT_EXTENSION_PATTERN),
        ("Filename", invocation.FILENAME_PATTERN),
    ],
)
def test_pattern_is_the_models(found: Found, parameter: str, pattern: str) -> None:
    # The model leaves the end open where the service matches whole values.
    assert metadata(found, parameter)["pattern"].removesuffix("$") == pattern.removesuffix("$")


def test_inference_id_pattern_is_the_models_in_pythons_words(found: Found) -> None:
    assert metadata(found, "InferenceId")["pattern"] == r"\A\S[\p{Print}]*\z"
    ours = re.compile(invocation.INFERENCE_ID_PATTERN)
    for code in range(256):
        text = chr(code)
        printable = 0x20 <= code < 0x7F
        assert bool(ours.fullmatch("a" + text)) == printable
        assert bool(ours.fullmatch(text)) == (printable and text != " ")


@pytest.mark.parametrize("parameter", ["ContentType", "Accept", "CustomAttributes"])
def test_header_pattern_is_ascii(found: Found, parameter: str) -> None:
    assert metadata(found, parameter)["pattern"] == r"\p{ASCII}*"
