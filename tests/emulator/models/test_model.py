"""Models: how they are found, and the built-in ones."""

import re
import sys
from pathlib import Path

import orjson
import pytest

from dispatcher.config.packing import Encoding, Framing
from dispatcher.config.settings import EmulatorSettings
from dispatcher.emulator.models.model import ModelError, ModelRequest, load_model
from dispatcher.emulator.models.text_stats import stats, text_stats
from dispatcher.emulator.server import Emulator
from dispatcher.errors import ConfigError
from tests.payloads import codec


def request(body: bytes, content_type: str | None = "application/json") -> ModelRequest:
    return ModelRequest(body, content_type, None, None, "i", "emulated")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def test_model_is_found_in_the_working_directory(folder: Path) -> None:
    (folder / "my_model_a.py").write_text("def predict(request):\n    return b'mine'\n")
    assert load_model("my_model_a:predict")(request(b"")) == b"mine"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ecko", "echo, text-stats, or package.module:function"),
        ("no_such_module_x:predict", "cannot import module 'no_such_module_x'"),
        ("my_model_b:absent", "has no function 'absent'"),
        ("my_model_b:number", "has no function 'number'"),
        ("my_model_b:no_argument", "must take one argument"),
        ("my_model_c:predict", "ZeroDivisionError"),
        (":predict", "package.module:function"),
    ],
)
async def test_model_that_cannot_be_loaded_says_what_to_do(
    folder: Path, name: str, words: str
) -> None:
    (folder / "my_model_b.py").write_text("number = 1\ndef no_argument():\n    return b''\n")
    (folder / "my_model_c.py").write_text("1 / 0\n")
    with pytest.raises(ConfigError, match=r"emulator\.model") as caught:
        await Emulator(EmulatorSettings(model=name)).__aenter__()
    assert words in str(caught.value)


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
def test_text_stats_refuses_what_it_cannot_read(
    body: bytes, content_type: str, status: int
) -> None:
    with pytest.raises(ModelError) as caught:
        text_stats(request(body, content_type))
    assert caught.value.status == status


def test_text_stats_of_deep_input_needs_no_recursion() -> None:
    value: object = "deep"
    for _ in range(100_000):
        value = [value]
    assert stats(value)["words"] == 1
