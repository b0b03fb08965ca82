"""Requests: the checks before sending, and the encoding of tags."""

import pytest

from dispatcher import limits
from dispatcher.aws.requests import InvokeRequest, check_invocation, tagging_of
from dispatcher.errors import Rejected


def invocation(
    *, body: bytes | None = None, input_location: str | None = None, inference_id: str = "id"
) -> InvokeRequest:
    return InvokeRequest(
        endpoint="churn",
        inference_id=inference_id,
        content_type="application/json",
        output_extension=None,
        filename=None,
        body=body,
        input_location=input_location,
        accept=None,
        custom_attributes=None,
        ttl=60,
        timeout=30,
    )


@pytest.mark.parametrize(
    "request_",
    [
        invocation(body=b""),
        invocation(body=bytes(limits.INLINE_BODY_BYTES)),
        invocation(input_location="s3://bucket/key"),
    ],
    ids=["empty", "largest", "by-location"],
)
def test_a_request_that_may_leave(request_: InvokeRequest) -> None:
    check_invocation(request_)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (invocation(), "BodyXor"),
        (invocation(body=b"x", input_location="s3://bucket/key"), "BodyXor"),
        (invocation(body=bytes(limits.INLINE_BODY_BYTES + 1)), "BodyTooLarge"),
        (invocation(body=b"x", inference_id=""), "ParamValidation"),
    ],
    ids=["neither", "both", "too-large", "no-id"],
)
def test_a_request_that_must_never_leave(request_: InvokeRequest, code: str) -> None:
    with pytest.raises(Rejected) as raised:
        check_invocation(request_)
    assert raised.value.code == code


def test_tags_are_percent_encoded_as_the_header_takes_them() -> None:
    assert tagging_of({"team": "a b", "k&=": "x/y+é"}) == "team=a%20b&k%26%3D=x%2Fy%2B%C3%A9"
    assert tagging_of({}) is None
