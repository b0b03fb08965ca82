"""The plan for an input is what ``run`` then does with it."""

import gzip
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import anyio
import msgpack
import orjson
import pytest
import zstandard

from dispatcher.cli.plan import read_input
from dispatcher.config.settings import Config
from dispatcher.emulator.models.model import ModelRequest, ModelResponse
from dispatcher.plan.cost import Assumptions, Prices
from dispatcher.plan.planner import Planner
from dispatcher.plan.report_json import report_json
from dispatcher.samples import records as letters
from dispatcher.samples.datasets import DATASETS
from tests.e2e.conftest import Json, Way, WayTo

ROOT = Path(__file__).parents[2]
ANSWERS = {"service_time": 0, "model": "tests.e2e.test_plan:lengths"}


def lengths(request: ModelRequest) -> ModelResponse:
    """Answer with the size of each record, whatever it came in."""
    kind, _, compression = (request.content_type or "").partition("; encoding=")
    body = request.body
    if compression:
        body = gzip.decompress(body) if compression == "gzip" else zstandard.decompress(body)
    if kind == "application/jsonlines":
        found = [len(line) for line in body.split(b"\n")]
    elif kind == "application/msgpack":
        value = msgpack.unpackb(body)
        found = [len(value)] if isinstance(value, dict) else [len(item) for item in value]
    elif kind == "application/json":
        value = orjson.loads(body)
        value = value.get("instances", value) if isinstance(value, dict) else value
        found = [len(value)] if isinstance(value, dict) else [len(item) for item in value]
    else:
        assert body.startswith(b"\xff\xd8"), "an image as it is"
        found = [len(body)]
    return ModelResponse(orjson.dumps(found))


def mixed() -> list[bytes]:
    """Short texts, with letters up to 300 kB and what cannot be read among them."""
    texts = list(DATASETS["short-text"](1_500, 3))
    texts[100:100] = letters.lines(12, 100, 300_000, 3)
    texts[50] = b'{"id": "broken'
    texts[60] = b'{"text": "without a name"}'
    texts[70] = b'{"id": null}'
    return texts


async def plan(way: Way, *options: str, **sections: Json) -> Json:
    """Plan as a command of its own."""
    path = way.folder / "plan.yaml"
    path.write_text(way.config(**sections).model_dump_json())
    done = await anyio.run_process(
        [sys.executable, "-m", "dispatcher", "plan", str(path), "--json", *options], check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    found: Json = json.loads(done.stdout)
    return found


async def plan_alone(config: Config, sample: int | None = None) -> Json:
    """Plan in this process, without trying other ways."""
    planner = Planner(config, Assumptions(), Prices(), trial_bytes=0)
    _, extent = await read_input(config, planner, sample)
    found: Json = json.loads(report_json(planner.finish(extent)))
    return found


def sections(packing: Json, **others: Any) -> dict[str, Json]:
    return {"packing": packing, **others}


MANY = {"max_records": 1000}
CASES = {
    "as it is": ("mixed", sections({})),
    "without a bucket": ("mixed", sections({}, staging={"bucket": None})),
    "lines": ("mixed", sections({"framing": "lines", **MANY})),
    "json array, few": ("mixed", sections({"framing": "json-array", "max_records": 7})),
    "json+zstd": ("mixed", sections({"framing": "lines", "encodings": ["json+zstd"], **MANY})),
    "json+gzip": (
        "mixed",
        sections(
            {"framing": "json-array", "encodings": ["json+gzip"], "max_bytes": "20kB", **MANY}
        ),
    ),
    "ladder": (
        "mixed",
        sections({"framing": "lines", "encodings": ["json", "json+zstd"], **MANY}),
    ),
    "template": (
        "mixed",
        sections(
            {
                "framing": "template",
                "template": '{"instances": [...]}',
                "answer": {"list": ""},
                "max_records": 90,
            }
        ),
    ),
    "msgpack": (
        "embeddings",
        sections({"framing": "msgpack-array", "encodings": ["msgpack"], **MANY}),
    ),
    "msgpack+zstd": (
        "embeddings",
        sections({"framing": "msgpack-array", "encodings": ["msgpack+zstd"], **MANY}),
    ),
    "images": ("images", sections({"encodings": ["raw"], "select": "{base64: image}"})),
    "images in a ladder": ("images", sections({"encodings": ["json", "msgpack+zstd"]})),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_run_does_what_was_planned(way_to: WayTo, case: str) -> None:
    way = await way_to(**ANSWERS)
    kind, settings = CASES[case]
    lines = mixed() if kind == "mixed" else DATASETS[kind](40, 3)
    (way.folder / "in.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))

    planned = await plan_alone(way.config(**settings))
    await way.run(**settings)

    meter = way.meter
    requests, refused = planned["requests"], planned["refused"]
    for route in ("inline", "s3"):
        assert requests[route] == meter.invocations[route]
        assert requests["records"][route] == meter.records[route]
        assert requests["bytes"][route] == meter.payload_bytes[route]
    assert {entry["reason"]: entry["records"] for entry in refused} == meter.dead_reasons
    assert planned["records"] == meter.read == meter.completed + meter.dead
    assert planned["complete"]
    assert requests["total"] > 1


async def test_a_run_over_files_does_what_was_planned(way_to: WayTo) -> None:
    way = await way_to(**ANSWERS)
    (way.folder / "in").mkdir()
    for number, size in enumerate((10, 127_998, 127_999, 300_000, 0)):
        content = b"\xff\xd8" + bytes(size) if size else b""
        (way.folder / "in" / f"{number}.jpg").write_bytes(content)
    settings = sections({"encodings": ["raw"]})
    settings["source"] = {"type": "files", "path": str(way.folder / "in" / "*.jpg"), "key": None}
    planned = await plan_alone(way.config(**settings))
    await way.run(**settings)
    assert planned["requests"]["inline"] == way.meter.invocations["inline"] == 2
    assert planned["requests"]["s3"] == way.meter.invocations["s3"] == 2
    assert [(entry["reason"], entry["records"]) for entry in planned["refused"]] == [
        *way.meter.dead_reasons.items()
    ]


async def test_what_is_recommended_does_what_it_says(way_to: WayTo) -> None:
    way = await way_to(**ANSWERS)
    (way.folder / "in.jsonl").write_bytes(b"\n".join(DATASETS["embeddings"](60, 3)))
    advice = (await plan(way))["recommendation"]
    changes = [
        option
        for key, value in advice["set"].items()
        for option in ("--set", f"{key}={json.dumps(value)}")
    ]
    then = await plan(way, *changes)
    assert then["requests"]["total"] == advice["requests"]["total"] < 10
    assert then["recommendation"] is None
    # Tried, the configured way is the same once more.
    assert then["tried"][0]["requests"] == {
        route: then["requests"][route] for route in ("total", "inline", "s3")
    }
    assert list(then["requests"]["content_types"]) == advice["content_types"]


async def test_a_sample_shows_nearly_what_the_whole_does(way_to: WayTo) -> None:
    way = await way_to(**ANSWERS)
    text = b"".join(line + b"\n" for line in DATASETS["short-text"](20_000, 3))
    packing = {"framing": "lines", "max_records": 100}
    for name, content in (("a.jsonl", text), ("b.jsonl.gz", gzip.compress(text))):
        path = way.folder / name
        path.write_bytes(content)
        config = way.config(packing=packing, source={"path": str(path)})
        whole = await plan_alone(config)
        part = await plan_alone(config, 2_000)
        assert (part["records"], part["complete"]) == (2_000, False)
        estimate = part["estimate"]["requests"]
        assert estimate == pytest.approx(whole["requests"]["total"], rel=0.05), name
        assert await plan_alone(config, 20_000) == whole
    assert whole["complete"]


BLOCKS = re.compile(r"^```sh\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


async def test_the_documentation_quotes_what_is_printed(tmp_path: Path) -> None:
    blocks = BLOCKS.findall((ROOT / "docs" / "plan.md").read_text())
    quoted = 0
    for commands, printed in blocks:
        done = await anyio.run_process(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=tmp_path,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        if printed:
            assert done.stdout.decode() == printed, "docs/plan.md has to be brought up to date"
            quoted += 1
    assert quoted == 4
