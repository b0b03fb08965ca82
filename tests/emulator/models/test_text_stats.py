"""The built-in model text-stats."""

import re

import orjson
import pytest

from dispatcher.config.packing import Encoding, Framing
from dispatcher.emulator.models.model import ModelError, ModelRequest
from dispatcher.emulator.models.text_stats import stats, text_stats
from tests.payloads import codec


def request(body: bytes, content_type: str | None = "application/json") -> ModelRequest:
    return ModelRequest(
        body=body,
        content_type=content_type,
        accept=None,
        custom_attributes=None,
        inference_id="i",
        endpoint="emulated",
    )


def test_text_stats_counts_words() -> None:
    assert stats({"title": "Don't panic!", "tags": ["one", 2, None]}) == {
        "characters": 15,
        "words": 3,
        "distinct_words": 3,
        "sentences": 2,
        "longest_word": "don't",
    }


def test_text_stats_of_nothing() -> None:
    assert stats(7)["words"] == 0
    assert stats("")["sentences"] == 0


def test_text_stats_answers_in_the_framing_of_the_request() -> None:
    single = text_stats(request(b'{"t": "a b"}', None))
    assert orjson.loads(single.body)["words"] == 2
    array = text_stats(request(b'["a", "b c"]'))
    assert [answer["words"] for answer in orjson.loads(array.body)] == [1, 2]
    lines = text_stats(request(b'"a"\n\n"b c"', "application/jsonlines"))
    assert lines.content_type == "application/jsonlines"
    assert [orjson.loads(line)["words"] for line in lines.body.splitlines()] == [1, 2]


@pytest.mark.parametrize("encoding", ["json", "json+gzip", "json+zstd", "msgpack", "msgpack+zstd"])
def test_text_stats_reads_every_encoding(encoding: Encoding) -> None:
    framing: Framing = "msgpack-array" if encoding.startswith("msgpack") else "lines"
    made = codec(framing, encodings=[encoding])
    payload = made.payload([b'{"t": "a b"}', b'"c"'], encoding)
    answer = text_stats(request(payload, made.content_type(encoding)))
    outputs = re.findall(rb'"words":(\d)', answer.body)
    assert outputs == [b"2", b"1"]


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b'"a"\n{', "application/jsonlines", 400),
        (b"{}", "application/json; encoding=gzip", 400),
        (b"{}", "application/json; encoding=zstd", 400),
        (b"{}", "application/json; encoding=br", 415),
        (b"\x92\x01", "application/msgpack", 400),
    ],
)
def test_text_stats_refuses_unreadable_bodies(body: bytes, content_type: str, status: int) -> None:
    with pytest.raises(ModelError) as caught:
        text_stats(request(body, content_type))
    assert caught.value.status == status


def test_text_stats_of_deep_input_needs_no_recursion() -> None:
    value: object = "deep"
    for _ in range(100_000):
        value = [value]
    assert stats(value)["words"] == 1
