"""The service goes away in the middle of a run and comes back."""

import random
import socket
from pathlib import Path

from tests.faults import crash
from tests.faults.conftest import Bench


def test_an_outage_is_waited_out(tmp_path: Path) -> None:
    texts = crash.write_records(tmp_path / "in.jsonl", 300, 1_000, random.Random(7))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    options = ("--port", port, "--state", str(tmp_path / "cloud"), "--instances", "4")
    with crash.emulator(tmp_path, *options) as told:
        bench = Bench(tmp_path, crash.configure(tmp_path, told), told, texts)
        run = bench.start("--progress", "none", "--set", "retry.cap=500ms")
        results = tmp_path / "results.jsonl"
        while not results.exists() or results.read_bytes().count(b"\n") < 50:
            assert run.poll() is None
    # The emulator is gone, and with it every connection and all messages of its queue.
    with crash.emulator(tmp_path, *options):
        _, said = run.communicate(timeout=50)
    assert run.returncode == 0, said
    assert bench.wrong() == []
