"""``emulate`` serves until a signal and says how to reach it."""

import shlex
import signal
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from dispatcher.cli.emulate import DEFAULT_PORT, merge
from dispatcher.config.faults import FaultSettings
from dispatcher.config.settings import EmulatorSettings, ServiceTime
from tests.emulator.conftest import AUTHORIZATION

NOTHING: dict[str, Any] = {
    "host": None,
    "port": None,
    "model": None,
    "service_time": None,
    "instances": None,
    "state": None,
    "seed": None,
    "no_events": False,
    "response_in_event": False,
    "throttle": None,
    "faults": {},
    "verify_signatures": False,
}


def test_without_options_only_the_port_differs() -> None:
    expected = EmulatorSettings().model_copy(update={"port": DEFAULT_PORT})
    assert merge(EmulatorSettings(), NOTHING) == expected


@pytest.mark.parametrize(
    ("option", "value", "key", "setting"),
    [
        ("host", "0.0.0.0", "host", "0.0.0.0"),
        ("port", 0, "port", 0),
        ("model", "text-stats", "model", "text-stats"),
        ("service_time", 0.5, "service_time", ServiceTime(median=0.5)),
        ("service_time", 0.0, "service_time", ServiceTime(median=0.0)),
        ("instances", 9, "instances", 9),
        ("state", "folder", "state", "folder"),
        ("seed", 0, "seed", 0),
        ("no_events", True, "events", False),
        ("response_in_event", True, "response_in_event", True),
        ("throttle", 0.0, "faults", FaultSettings(lost_event=0.25)),
        ("throttle", 1.0, "faults", FaultSettings(throttle=1.0, lost_event=0.25)),
        ("faults", {"lost_event": 1.0}, "faults", FaultSettings(throttle=0.5, lost_event=1.0)),
        ("verify_signatures", True, "verify_signatures", True),
    ],
)
def test_an_option_overrides_the_configuration(
    option: str, value: object, key: str, setting: object
) -> None:
    configured = EmulatorSettings(
        model="echo",
        seed=5,
        faults=FaultSettings(throttle=0.5, lost_event=0.25),
        port=4000,
        service_time=ServiceTime(median=1.0),
    )
    assert getattr(merge(configured, NOTHING | {option: value}), key) == setting


def test_the_port_of_a_configuration_stays() -> None:
    assert merge(EmulatorSettings(port=0), NOTHING).port == 0
    assert merge(EmulatorSettings(port=4000), NOTHING).port == 4000


def test_a_configuration_keeps_its_events_off() -> None:
    assert merge(EmulatorSettings(events=False), NOTHING).events is False


def exports(process: subprocess.Popen[str]) -> dict[str, str]:
    assert process.stdout is not None
    exported: dict[str, str] = {}
    while "OUTPUT_BUCKET" not in exported:
        command, assignment = shlex.split(process.stdout.readline())
        assert command == "export"
        name, _, value = assignment.partition("=")
        exported[name] = value
    return exported


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_it_serves_until_a_signal(
    start: Callable[..., subprocess.Popen[str]], folder: Path, number: signal.Signals, code: int
) -> None:
    process = start("emulate", "--config", "w.yaml", "--port", "0")
    exported = exports(process)
    assert process.stderr is not None
    assert set(exported) >= {
        "AWS_ENDPOINT_URL",
        "AWS_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "QUEUE_URL",
        "STAGING_BUCKET",
    }
    assert process.stderr.readline().startswith("emulating churn on http://127.0.0.1:")
    request = urllib.request.Request(exported["AWS_ENDPOINT_URL"] + "/nowhere", method="PATCH")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=5)
    caught.value.close()
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (code, "", "")


def test_it_says_at_the_end_which_faults_have_struck(
    start: Callable[..., subprocess.Popen[str]], folder: Path
) -> None:
    faults = ("--fault", "s3_error=1", "--throttle", "1", "--fault", "lost_event=1")
    process = start("emulate", "--port", "0", *faults)
    url = exports(process)["AWS_ENDPOINT_URL"]
    signed = {"Authorization": AUTHORIZATION.format("s3")}
    for _ in range(2):
        request = urllib.request.Request(f"{url}/emulator-input", headers=signed)
        with pytest.raises(urllib.error.HTTPError, match="503") as caught:
            urllib.request.urlopen(request, timeout=5)
        caught.value.close()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert err.splitlines()[1:] == ["faults: s3_error 2"]


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("lost_event", "write NAME=SHARE, not 'lost_event'"),
        ("lost_evnet=1", "there is no fault 'lost_evnet'; did you mean lost_event?"),
        ("xyz=1", "there is no fault 'xyz'; docs/emulator.md lists all"),
        ("lost_event=2", "lost_event=2: Input should be less than or equal to 1"),
        ("late_event_delay=soon", "late_event_delay=soon: "),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(
    cli: Callable[..., Result], fault: str, complaint: str
) -> None:
    result = cli("emulate", "--fault", fault)
    assert result.exit_code == 1
    assert complaint in result.stderr
