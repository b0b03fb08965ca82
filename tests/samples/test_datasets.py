"""The data sets are repeatable, and read and compress like what they stand for."""

import base64
import math
import struct
from itertools import pairwise
from pathlib import Path
from statistics import median

import orjson
import pytest
import zstandard
from click.testing import CliRunner

from dispatcher.samples.datasets import DATASETS, EMBEDDING_FLOATS
from dispatcher.samples.records import main

COUNTS = {"short-text": 2_000, "embeddings": 30, "images": 120}


def made(kind: str, count: int, seed: int = 1) -> list[bytes]:
    return list(DATASETS[kind](count, seed))


def compressed(lines: list[bytes]) -> float:
    whole = b"\n".join(lines)
    return len(whole) / len(zstandard.ZstdCompressor(3).compress(whole))


@pytest.mark.parametrize("kind", DATASETS)
def test_the_same_seed_gives_the_same_records(kind: str) -> None:
    few = made(kind, 10)
    assert few == made(kind, 10) != made(kind, 10, seed=2)
    # More records begin with the fewer ones, so a sample of a set is a smaller set.
    assert made(kind, 20)[:10] == few
    names = [orjson.loads(line)["id"] for line in few]
    assert all(a < b for a, b in pairwise(names))


def test_short_texts() -> None:
    lines = made("short-text", 2_000)
    sizes = [len(line) for line in lines]
    assert min(sizes) >= 75
    assert max(sizes) <= 600
    assert 150 < median(sizes) < 230
    assert 3 < compressed(lines) < 5
    assert len({orjson.loads(line)["text"] for line in lines}) > 1_990


def test_embeddings() -> None:
    lines = made("embeddings", 30)
    for line in lines:
        vector = orjson.loads(line)["embedding"]
        assert len(vector) == EMBEDDING_FLOATS
        assert math.isclose(sum(x * x for x in vector), 1, rel_tol=1e-5)
        single = struct.unpack(f"{len(vector)}f", struct.pack(f"{len(vector)}f", *vector))
        assert list(single) == vector, "each is a 32-bit float"
    assert 15_000 < median(len(line) for line in lines) < 17_000


def test_images() -> None:
    lines = made("images", 120)
    sizes = []
    for line in lines:
        image = base64.b64decode(orjson.loads(line)["image"], validate=True)
        assert image.startswith(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00")
        assert image.endswith(b"\xff\xd9")
        sizes.append(len(image))
    assert 20_000 <= min(sizes) < median(sizes) < 200_000
    assert 500_000 < max(sizes) <= 2_000_000
    # Base64 has six bits in eight; what it stands for does not get smaller.
    assert 1.3 < compressed(lines) < 1.4


@pytest.mark.parametrize("kind", DATASETS)
def test_the_command_writes_them(kind: str, tmp_path: Path) -> None:
    out = tmp_path / "in.jsonl"
    arguments = ["--kind", kind, "--count", "5", "--seed", "7", "--out", str(out)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert out.read_bytes().splitlines() == made(kind, 5, seed=7)


def test_sizes_are_only_for_letters(tmp_path: Path) -> None:
    out = tmp_path / "in.jsonl"
    for option in ("--min-bytes", "--max-bytes"):
        arguments = ["--kind", "images", option, "200", "--out", str(out)]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 2
        assert f"{option} is for letters" in result.output
    assert not out.exists()
