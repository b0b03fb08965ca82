"""Containers as docs/packing.md shows them, in every encoding; and containers that answer badly."""

import base64
import importlib
import os
import random
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import anyio
import anyio.to_thread
import orjson
import pytest
import yaml

from dispatcher.config.packing import _FORMATS, Encoding
from dispatcher.config.settings import Config
from dispatcher.emulator.models.model import ModelRequest, ModelResponse
from dispatcher.errors import ConfigError
from dispatcher.run import pipeline

Json = dict[str, Any]
WayTo = Callable[..., Awaitable[Any]]

HERE = Path(__file__).parent
DOCUMENT = (HERE.parents[1] / "docs" / "packing.md").read_text()
_PAYLOAD = re.compile(r"^```python\n# payload\.py\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_HANDLER = re.compile(
    r"^### ([^\n]+)\n+```yaml\n([^`]*)^```\n+```python\n# inference\.py\n(.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
HANDLERS = {title: (config, code) for title, config, code in _HANDLER.findall(DOCUMENT)}


def ways() -> list[tuple[str, Encoding]]:
    """Return each handler of the documentation with each encoding that it is to take."""
    found = []
    for title, (config, _) in HANDLERS.items():
        packing = yaml.safe_load(config)["packing"]
        first = packing.get("encodings", ["json"])[0]
        forms = [first] if first == "raw" else _FORMATS[packing["framing"]]
        found += [
            (title, encoding)
            for encoding in get_args(Encoding)
            if encoding.partition("+")[0] in forms and (encoding == "raw") == (first == "raw")
        ]
    return found


def module(name: str, code: str) -> ModuleType:
    made = ModuleType(name)
    exec(compile(code, f"docs/packing.md: {name}", "exec"), made.__dict__)
    return made


@pytest.fixture(autouse=True)
def _containers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Let the emulator's model be an inference.py of the documentation, as its toolkit calls it."""

    def _serve(code: str) -> str:
        (payload,) = _PAYLOAD.findall(DOCUMENT)
        monkeypatch.setitem(sys.modules, "payload", module("payload", payload))
        inference = module("inference", code)
        model = inference.model_fn("/opt/ml/model")

        def handler(request: ModelRequest) -> ModelResponse:
            data = inference.input_fn(request.body, request.content_type)
            outputs = inference.predict_fn(data, model)
            return ModelResponse(*inference.output_fn(outputs, request.accept))

        monkeypatch.setattr(importlib.import_module("containers"), "handler", handler)
        return "containers:handled"

    return _serve


def texts() -> list[Json]:
    """Return small records, and one that no compression makes small enough."""
    random.seed(7)
    large = base64.b64encode(random.randbytes(200_000)).decode()
    small = [{"id": n if n % 2 else f"r{n}", "text": "é" * (n * 7 % 50)} for n in range(60)]
    return [*small, {"id": "large", "text": large}, {"id": "last", "text": ""}]


def images() -> list[Json]:
    random.seed(8)
    sizes = [1, 50, 100_000, 127_999, 128_000, 128_001, 150_000]
    return [
        {"id": n, "image": {"base64": base64.b64encode(random.randbytes(n)).decode()}}
        for n in sizes
    ]


def test_every_framing_has_a_handler_in_the_documentation() -> None:
    covered = {yaml.safe_load(config)["packing"]["framing"] for config, _ in HANDLERS.values()}
    assert covered == set(_FORMATS)
    assert {encoding for _, encoding in ways()} == set(get_args(Encoding))


def test_configurations_of_the_documentation_are_configurations() -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
    assert len(blocks) > len(HANDLERS)
    for block in blocks:
        sections = yaml.safe_load(block)
        source = {"path": "in.jsonl"} | sections.pop("source", {})
        Config.model_validate({"endpoint": "churn", "source": source, **sections})


@pytest.mark.parametrize(("title", "encoding"), ways())
async def test_handlers_of_the_documentation(
    way_to: WayTo, serve: Callable[[str], str], title: str, encoding: Encoding
) -> None:
    config, code = HANDLERS[title]
    sections = yaml.safe_load(config)
    sections["packing"] |= {"encodings": [encoding], "linger": "1h"}
    way = await way_to(model=serve(code))
    records = images() if encoding == "raw" else texts()
    way.write(records)
    await way.run(**sections)
    assert way.dead() == []
    outputs = {line["key"]: line["output"] for line in way.results()}
    if encoding == "raw":
        assert outputs == {record["id"]: {"bytes": record["id"]} for record in records}
        assert way.meter.invocations == {"inline": 5, "s3": 2}
    else:
        assert outputs == {
            record["id"]: {"id": record["id"], "length": len(record["text"])} for record in records
        }
        packed = sections["packing"]["framing"] != "none"
        assert way.meter.invocations == {"inline": 2 if packed else 61, "s3": 1}


async def test_a_ladder_sends_each_record_in_the_first_encoding_that_fits(
    way_to: WayTo, serve: Callable[[str], str]
) -> None:
    way = await way_to(model=serve(HANDLERS["none"][1]))
    records = [{"id": "small", "text": "x"}, {"id": "zstd", "text": "x" * 300_000}, texts()[-2]]
    way.write(records)
    await way.run(packing={"encodings": ["json", "msgpack", "json+zstd"]})
    assert way.dead() == []
    assert {line["key"]: line["output"]["length"] for line in way.results()} == {
        record["id"]: len(record["text"]) for record in records
    }
    assert way.meter.invocations == {"inline": 2, "s3": 1}


async def test_a_record_that_no_encoding_carries_is_a_dead_letter(way_to: WayTo) -> None:
    way = await way_to()
    lines = [b'{"id":1,"x":12345678901234567890123}', b'{"id":2,"x":1}', b'{"id":3,"x":"a"}']
    (way.folder / "in.jsonl").write_bytes(b"\n".join(lines))
    packing = {"encodings": ["msgpack"], "framing": "msgpack-array", "max_records": 10}
    await way.run(packing={**packing, "select": "{id: id, x: abs(x)}"})
    assert [line["output"] for line in way.results()] == [{"id": 2, "x": 1}]
    dead = {line["key"]: line for line in way.dead()}
    assert {key: line["reason"] for key, line in dead.items()} == dict.fromkeys(
        (1, 3), "not_encodable"
    )
    assert "MessagePack" in dead[1]["message"]
    assert "packing.select" in dead[3]["message"]
    assert dead[1]["input"]["x"] == 12345678901234567890123


async def test_results_are_reshaped(way_to: WayTo) -> None:
    way = await way_to()
    big = 12345678901234567890123
    lines = [b'{"id":"a","x":%d,"y":[1]}' % big, b'{"id":"b","x":2,"y":5}']
    (way.folder / "in.jsonl").write_bytes(b"\n".join(lines))
    select = "{n: output.x, y: length(output.y), was: input.id, key: key, on: meta.route}"
    await way.run(sink={"join": "both", "select": select})
    (result,) = way.results()
    assert result == {
        "key": "a",
        "status": "completed",
        "output": {"n": big, "y": 1, "was": "a", "key": "a", "on": "inline"},
    }
    (dead,) = way.dead()
    assert (dead["key"], dead["status"], dead["reason"]) == ("b", "failed", "select_failed")
    assert "sink.select" in dead["message"]
    assert "; the output is at s3://" in dead["message"]
    assert dead["input"] == {"id": "b", "x": 2, "y": 5}
    assert way.meter.completed == way.meter.dead == 1


async def test_without_a_join_there_is_no_input_to_reshape(way_to: WayTo) -> None:
    way = await way_to()
    way.write([{"id": "a"}])
    await way.run(sink={"select": "[output, keys(@)]", "meta": True})
    (result,) = way.results()
    assert result["output"] == [{"id": "a"}, ["key", "status", "output", "meta"]]
    assert result["meta"]["attempts"] == 1


async def test_how_answers_are_read_cannot_be_forced_while_any_is_outstanding(
    way_to: WayTo, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = await way_to(model="containers:gated")
    gate = importlib.import_module("containers").Gate(3)
    monkeypatch.setattr("containers.gate", gate)
    records = [{"id": f"r{n}"} for n in range(3)]
    way.write(records)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(way.run)
            await gate.full.wait()
            group.cancel_scope.cancel()
    changed = way.config(packing={"framing": "lines", "max_records": 3})
    with pytest.raises(ConfigError, match=r"packing\.framing was .* nor be forced, while 3 inv"):
        await pipeline.run(changed, meter=way.meter, access=way.access, force=True)
    gate.opened.set()
    await way.run()
    assert [line["output"] for line in way.results()] == records
    way.write([*records, {"id": "r3"}])
    await pipeline.run(changed, meter=way.meter, access=way.access, force=True)
    assert {line["key"] for line in way.results()} == {"r0", "r1", "r2", "r3"}


# Containers that answer badly. Which records are to blame is found by splitting requests.

BAD = [
    ("lines_but_of_poison", {}, "count_mismatch"),
    ("backwards", {"answer": {"id": "id"}}, "id_mismatch"),
    ("broken", {}, "bad_answer"),
]


@pytest.mark.parametrize("packed", [1, 9])
@pytest.mark.parametrize(("container", "packing", "reason"), BAD)
async def test_a_bad_answer_is_the_fault_of_the_bad_records_only(
    way_to: WayTo, container: str, packing: Json, reason: str, packed: int
) -> None:
    way = await way_to(model=f"containers:{container}")
    records = [
        {"id": f"r{n}", "text": "poison" if n in (4, 13) else "x", "n": n} for n in range(30)
    ]
    way.write(records)
    await way.run(packing={"framing": "lines", "max_records": packed, "linger": "1h", **packing})
    good = {record["id"]: record for record in records if record["text"] != "poison"}
    assert {line["key"]: line["output"] for line in way.results()} == good
    assert {line["key"]: line["reason"] for line in way.dead()} == dict.fromkeys(
        ("r4", "r13"), reason
    )
    assert all(line["input"]["text"] == "poison" for line in way.dead())


@pytest.mark.parametrize("packed", [1, 5, 9])
async def test_an_output_does_not_depend_on_its_neighbours(way_to: WayTo, packed: int) -> None:
    """With 19 records one is alone at the end, and all around poison are in the end."""
    way = await way_to(model="containers:pairs")
    records = [{"id": n, "n": n, "text": "poison" if n == 4 else "x"} for n in range(19)]
    way.write(records)
    packing = {"framing": "lines", "max_records": packed, "linger": "1h"}
    await way.run(packing={**packing, "answer": {"framing": "lines"}})
    assert {line["key"]: line["output"] for line in way.results()} == {
        n: [n, "x"] for n in range(19) if n != 4
    }
    assert [line["key"] for line in way.dead()] == [4]


@pytest.mark.parametrize("packed", [1, 9])
async def test_a_document_is_no_output_where_an_array_is_expected(
    way_to: WayTo, packed: int
) -> None:
    way = await way_to(model="containers:around")
    way.write([{"id": n} for n in range(10)])
    packing = {"framing": "json-array", "max_records": packed, "linger": "1h"}
    await way.run(packing={**packing, "answer": {"framing": "array"}})
    assert way.results() == []
    dead = way.dead()
    assert {line["key"]: line["reason"] for line in dead} == dict.fromkeys(range(10), "bad_answer")
    assert all("named by packing.answer.list" in line["message"] for line in dead)


_WEIGHED = """
import atexit, pathlib, re, runpy, sys
status, weight = pathlib.Path("/proc/self/status"), pathlib.Path(sys.argv.pop())
atexit.register(lambda: weight.write_text(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1]))
runpy.run_module("dispatcher", run_name="__main__", alter_sys=True)
"""


def run_and_weigh(way: Any, sections: Json) -> tuple[int, int]:
    """Return the exit code of a run in a process of its own, and its most resident memory."""
    config = way.config(**sections).model_dump(mode="json", exclude_unset=True)
    file, weight = way.folder / "w.yaml", way.folder / "weight"
    file.write_text(yaml.safe_dump(config))
    done = subprocess.run(
        [sys.executable, "-c", _WEIGHED, "run", str(file), str(weight)],
        env={**os.environ, **way.emulator.environment},
        check=False,
    )
    return done.returncode, int(weight.read_text()) * 1024


HUGE = [
    (2, {}, "output_too_large", 150_000_000),
    (1, {}, "output_too_large", 150_000_000),
    (2, {"max_output": "300MB"}, "count_mismatch", 450_000_000),
    (1, {"max_output": "300MB"}, "", 900_000_000),
]


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the memory's high water")
@pytest.mark.parametrize(("packed", "completion", "reason", "max_bytes"), HUGE)
async def test_an_output_of_200_megabytes(
    way_to: WayTo, packed: int, completion: Json, reason: str, max_bytes: int
) -> None:
    way = await way_to(model="containers:huge")
    records = [{"id": f"r{n}", "text": "poison" if n == 2 else "x"} for n in range(4)]
    way.write(records)
    framing = "lines" if packed > 1 else "none"
    packing = {"framing": framing, "max_records": packed, "linger": "1h"}
    sections = {"packing": packing, "completion": completion}
    code, weight = await anyio.to_thread.run_sync(run_and_weigh, way, sections)
    assert code == (2 if reason else 0)
    found = {}
    with (way.folder / "results.jsonl").open("rb") as lines:
        for line in lines:
            result = orjson.loads(line)
            found[result["key"]] = result["output"]
    if not reason:
        assert len(found.pop("r2")) == 200
    assert found == {record["id"]: record for record in records if record["id"] != "r2"}
    assert [(line["key"], line["reason"]) for line in way.dead()] == (
        [("r2", reason)] if reason else []
    )
    assert weight < max_bytes
