"""Contract of invocations: both transports do the same; only the emulator plays the service."""

from dataclasses import replace
from typing import Any

import anyio
import pytest

from dispatcher.aws.requests import InvokeRequest, InvokeResponse, Location
from dispatcher.config.settings import EmulatorSettings
from dispatcher.emulator.server import Emulator
from dispatcher.errors import Denied, Rejected, Throttled
from tests.contracts.conftest import Place, place_of, verdict

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


async def accepted(place: Place, name: str, request: InvokeRequest) -> InvokeResponse:
    async with place.connect(name) as transport:
        return await transport.runtime.invoke(request)


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
async def test_what_is_accepted(
    emulator: Emulator, boxed: Place, transport_name: str, change: dict[str, Any]
) -> None:
    request = replace(INLINE, **change)
    key = f"{request.output_extension}/{request.filename}"
    answer = await accepted(boxed, transport_name, request)
    assert answer.output_location is not None
    assert answer.output_location.endswith(key)
    assert answer.failure_location is not None
    await emulator.idle()
    objects = emulator.objects(emulator.output_bucket)
    (found,) = (body for name, body in objects.items() if name.endswith(key))
    assert found == request.body


async def test_a_staged_payload(emulator: Emulator, boxed: Place, transport_name: str) -> None:
    at = Location(emulator.input_bucket, "staged/a b+c/~%41")
    async with boxed.connect(transport_name) as transport:
        await transport.objects.put(at, b"staged", "text/plain")
        await transport.runtime.invoke(replace(INLINE, body=None, input_location=str(at)))
        await emulator.idle()
    assert list(emulator.objects(emulator.output_bucket).values()) == [b"staged"]


REFUSED: dict[str, tuple[dict[str, Any], tuple[type[Exception], str]]] = {
    "no-such-endpoint": ({"endpoint": "nobody"}, (Denied, "")),
    "no-such-name": ({"endpoint": "no/such name"}, (Denied, "")),
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
async def test_what_is_refused(boxed: Place, transport_name: str, name: str) -> None:
    change, expected = REFUSED[name]
    request = replace(INLINE, **change)
    assert await verdict(accepted(boxed, transport_name, request)) == expected


@pytest.mark.parametrize(
    ("key_id", "code"),
    [("denied", "AccessDeniedException"), ("nobody", "UnrecognizedClientException")],
)
async def test_who_may_not(boxed: Place, transport_name: str, key_id: str, code: str) -> None:
    async with boxed.connect(transport_name, key_id=key_id) as transport:
        assert await verdict(transport.runtime.invoke(INLINE)) == (Denied, code)


async def test_a_throttled_endpoint(transport_name: str) -> None:
    settings = EmulatorSettings.model_validate({"faults": {"throttle": 1.0}})
    async with Emulator(settings, endpoints=["churn"]) as emulator:
        said = await verdict(accepted(place_of(emulator), transport_name, INLINE))
    assert said == (Throttled, "ThrottlingException")


async def test_many_at_once_share_the_connections(
    emulator: Emulator, boxed: Place, transport_name: str
) -> None:
    requests = [
        replace(INLINE, inference_id=f"id-{n}", filename=f"{n}.out", body=b"%d" % n)
        for n in range(200)
    ]
    async with boxed.connect(transport_name) as transport, anyio.create_task_group() as group:
        for request in requests:
            group.start_soon(transport.runtime.invoke, request)
    await emulator.idle()
    outputs = emulator.objects(emulator.output_bucket)
    assert sorted(outputs.values()) == sorted(b"%d" % n for n in range(200))
