"""Corrupted events and outputs."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.completion.event import Completion, NoCompletion, parse
from dispatcher.emulator.faults.corruption import MALFORMED, malformed_event, without_last_output
from dispatcher.emulator.models.model import ModelResponse

EVENT = {
    "invocationStatus": "Completed",
    "inferenceId": "id-1",
    "responseParameters": {"outputLocation": "s3://out/emulated/output/id-1.out"},
}


@given(st.randoms(use_true_random=False))
def test_a_malformed_event_never_settles_anything_wrongly(rng: Any) -> None:
    (message,) = parse(malformed_event(EVENT, rng))
    # Only its response may be unreadable; then the output is in the object.
    assert message == NoCompletion("malformed") or (
        isinstance(message, Completion) and message.body is None
    )


def test_every_way_to_be_malformed_is_taken() -> None:
    rng = Random(0)
    texts = {malformed_event(EVENT, rng) for _ in range(50 * len(MALFORMED))}
    assert {"no event", "42", "{}"} < texts
    assert any('"Paused"' in text for text in texts)


@pytest.mark.parametrize(
    ("body", "content_type", "left"),
    [
        (b"[1, 2, 3]", "application/json", b"[1,2]"),
        (b"[1]", "application/json", b"[]"),
        (b"[]", "application/json", None),
        (b"[broken", "application/json", None),
        (b'{"a": 1}', "application/json", None),
        (b"", "application/json", None),
        (b"1\n[2]\n", "application/jsonlines", b"1\n"),
        (b"[1]\n[2]", "application/jsonlines; encoding=none", b"[1]\n"),
        (b"1", "application/jsonlines", b""),
        (b"", "application/jsonlines", None),
        (b"a\nb\n", "text/csv", None),
    ],
)
def test_an_answer_loses_one_output(body: bytes, content_type: str, left: bytes | None) -> None:
    fewer = without_last_output(ModelResponse(body, content_type))
    assert fewer == (None if left is None else ModelResponse(left, content_type))
