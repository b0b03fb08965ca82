"""The service goes away in the middle of a run and comes back."""

import socket
from pathlib import Path

from tests.faults import crash
from tests.faults.conftest import MakeBench


def test_an_outage_is_waited_out(make_bench: MakeBench, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    keeping = ("--port", port, "--state", str(tmp_path / "cloud"))
    bench = make_bench(*keeping)
    run = bench.start("--progress", "none", "--set", "retry.cap=500ms")
    bench.wait_for(run, lines=50)
    bench.stop_emulator()
    # The emulator is gone, and with it every connection and all messages of its queue.
    with crash.emulator(tmp_path, *keeping):
        _, said = run.communicate(timeout=50)
    assert run.returncode == 0, said
    assert bench.wrong() == []
