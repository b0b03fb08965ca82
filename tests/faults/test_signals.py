"""A signal drains or stops a run, and the next process goes on with the rest."""

import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.faults import crash
from tests.faults.conftest import RECORDS, MakeBench


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def wait_until(run: subprocess.Popen[str], port: int, key: str, value: object) -> None:
    """Wait until a run says this of itself at ``observe.port``."""
    while True:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{port}/status.json", timeout=5
            ) as response:
                if json.load(response)[key] == value:
                    return
        except (urllib.error.URLError, ConnectionError):
            pass  # it is still starting
        assert run.poll() is None, run.communicate()[1]
        time.sleep(crash.LOOK_SECONDS)


def test_sigterm_drains_what_is_outstanding(make_bench: MakeBench) -> None:
    outstanding = 150  # one second of the emulator's time
    bench = make_bench(instances=8, limits={"outstanding": outstanding, "drain": "30s"})
    run = bench.start("--progress", "none")
    bench.wait_for(run, lines=20)
    before = crash.lines_of(bench.folder)
    run.send_signal(signal.SIGTERM)
    _, said = run.communicate(timeout=25)
    assert run.returncode == 128 + signal.SIGTERM, said
    settled = crash.lines_of(bench.folder)
    assert before + outstanding // 2 <= settled < RECORDS  # drained, and took no more
    status = bench.status()
    assert (status["planned"], status["accepted"], status["outstanding_records"]) == (0, 0, 0)
    assert (status["completed"], status["dead"]) == (settled, 0)
    assert status["finished"] is status["running"] is False

    code, said = bench.run()
    assert code == 0, said
    assert bench.wrong() == []
    assert f"{settled} of these were settled by earlier" in " ".join(said.split())


def test_a_second_signal_stops_at_once(make_bench: MakeBench, tmp_path: Path) -> None:
    port, observed = free_port(), free_port()
    keeping = ("--port", str(port), "--state", str(tmp_path / "cloud"))
    bench = make_bench(
        *keeping, service_time="1h", limits={"drain": "60s"}, observe={"port": observed}
    )
    run = bench.start("--progress", "none")
    wait_until(run, observed, "sent", RECORDS)
    run.send_signal(signal.SIGTERM)
    wait_until(run, observed, "phase", "draining")
    run.send_signal(signal.SIGTERM)
    _, said = run.communicate(timeout=15)  # neither an hour nor a minute
    assert run.returncode == 128 + signal.SIGTERM, said
    assert bench.status()["outstanding_records"] == RECORDS
    assert crash.lines_of(bench.folder) == 0

    bench.stop_emulator()  # what it had accepted goes on with the next one, which is quicker
    with crash.emulator(tmp_path, *keeping, "--service-time", "1ms"):
        code, said = bench.run()
    assert code == 0, said
    assert bench.wrong() == []
