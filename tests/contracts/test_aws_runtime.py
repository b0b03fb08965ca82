"""InvokeEndpointAsync: both transports and the double do the same, and report the same errors.

Only the emulator plays the service.
"""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from dispatcher.aws.requests import InvokeRequest, Location
from dispatcher.config.settings import EmulatorSettings
from dispatcher.emulator.server import Emulator
from dispatcher.errors import Denied, Rejected, Throttled
from tests.contracts.conftest import Place, RuntimeCalls, place_of, verdict

INLINE = InvokeRequest(
    endpoint="churn",
    inference_id="0a1b2c3d-00000000000z",
    content_type="application/json",
    output_extension="0a1b2c3d/00000000",
    filename="0a1b2c3d-00000000000z.out",
    body=b'{"x": "\xc3\xa9\x00"}',
    input_location=None,
    accept=None,
    custom_attributes=None,
    ttl=120,
    timeout=30,
)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"body": bytes(range(256)) * 500},
        {"content_type": "application/jsonlines; encoding=gzip"},
        {"accept": "text/csv; charset=utf-8", "custom_attributes": "a=b;c=~!@#$%^&*()"},
        {"ttl": 21_600, "timeout": 3_600},
        {"filename": "a-b_c.1", "output_extension": "a/b-c/d"},
        {"inference_id": "~!*'();:@&=+$,/?#[]"},
    ],
    ids=str,
)
async def test_what_is_accepted(runtime: RuntimeCalls, change: dict[str, Any]) -> None:
    request = replace(INLINE, **change)
    key = f"{request.output_extension}/{request.filename}"
    response = await runtime.invoke(request)
    assert response.output_location is not None
    assert response.output_location.endswith(key)
    assert response.failure_location is not None
    (payload,) = (body for at, body in (await runtime.payloads()).items() if at.endswith(key))
    assert payload == request.body


async def test_a_staged_payload(emulator: Emulator, boxed: Place, transport_name: str) -> None:
    at = Location(emulator.input_bucket, "staged/a b+c/~%41")
    async with boxed.connect(transport_name) as transport:
        await transport.objects.put(at, b"staged", "text/plain")
        await transport.runtime.invoke(replace(INLINE, body=None, input_location=str(at)))
        await emulator.idle()
    assert list(emulator.objects(emulator.output_bucket).values()) == [b"staged"]


Refusals = dict[str, tuple[dict[str, Any], tuple[type[Exception], str]]]
REFUSED: Refusals = {
    "empty": ({"body": b""}, (Rejected, "ValidationError")),
    "no-location": (
        {"body": None, "input_location": "nowhere"},
        (Rejected, "ValidationError"),
    ),
    "path-in-filename": ({"filename": "../up"}, (Rejected, "ValidationError")),
    "both": ({"input_location": "s3://in/x"}, (Rejected, "BodyXor")),
    "neither": ({"body": None}, (Rejected, "BodyXor")),
    "too-large": ({"body": bytes(128_001)}, (Rejected, "BodyTooLarge")),
    "no-id": ({"inference_id": ""}, (Rejected, "ParamValidation")),
    "id-too-long": ({"inference_id": "x" * 65}, (Rejected, "ValidationError")),
    "too-long-to-wait": ({"ttl": 21_601}, (Rejected, "ValidationError")),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused(runtime: RuntimeCalls, name: str) -> None:
    change, expected = REFUSED[name]
    assert await verdict(runtime.invoke(replace(INLINE, **change))) == expected


@pytest.mark.parametrize("endpoint", ["nobody", "no/such name"])
async def test_an_endpoint_that_is_not_there(
    boxed: Place, transport_name: str, endpoint: str
) -> None:
    """The double is one endpoint of any name."""
    async with boxed.connect(transport_name) as transport:
        said = await verdict(transport.runtime.invoke(replace(INLINE, endpoint=endpoint)))
    assert said == (Denied, "")


@pytest.mark.parametrize(
    ("key_id", "code"),
    [("denied", "AccessDeniedException"), ("nobody", "UnrecognizedClientException")],
)
async def test_who_may_not(boxed: Place, transport_name: str, key_id: str, code: str) -> None:
    async with boxed.connect(transport_name, key_id=key_id) as transport:
        assert await verdict(transport.runtime.invoke(INLINE)) == (Denied, code)


async def test_a_throttled_endpoint(transport_name: str) -> None:
    settings = EmulatorSettings.model_validate({"faults": {"throttle": 1.0}})
    async with (
        Emulator(settings, endpoints=["churn"]) as emulator,
        place_of(emulator).connect(transport_name) as transport,
    ):
        said = await verdict(transport.runtime.invoke(INLINE))
    assert said == (Throttled, "ThrottlingException")


async def test_many_at_once(runtime: RuntimeCalls) -> None:
    requests = [
        replace(INLINE, inference_id=f"id-{n}", filename=f"{n}.out", body=b"%d" % n)
        for n in range(200)
    ]
    await asyncio.gather(*(runtime.invoke(request) for request in requests))
    assert sorted((await runtime.payloads()).values()) == sorted(b"%d" % n for n in range(200))
