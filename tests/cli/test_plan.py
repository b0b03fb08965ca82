"""``dispatcher plan``: reads, packs, sends nothing, and says what a run would do."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from dispatcher.plan.cost import PRICE_NAMES

OF_THE_CONFIGURATION = ("set", "encodings", "content_types")
"""Fields of the JSON document that hold other names."""

Start = Callable[..., subprocess.Popen[str]]


def row(result: Result, label: str) -> list[str]:
    """Return the cells of a table's row."""
    (found,) = (line for line in result.stdout.splitlines() if line.startswith(label))
    return found.removeprefix(label).split()


def test_a_plan_says_the_important_first_and_makes_nothing(
    cli: Callable[..., Result], folder: Path
) -> None:
    before = sorted(folder.rglob("*"))
    result = cli("plan", "w.yaml")
    assert result.exit_code == 0
    assert result.stdout.startswith(
        "5 requests for 5 records\n"
        "$0.00003; an upload and a call for each record would cost $0.000055\n"
        "\n"
        "records    5 of 130 B\n"
        "inline     5 requests with 5 records, 130 B\n"
        "a request  1 record; inline ones are <1% full\n"
    )
    assert "recommended  packing: {framing: lines, max_records: 1000}" in result.stdout
    assert result.stderr == ""
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    assert sorted(folder.rglob("*")) == before


def test_no_credentials_are_needed(cli: Callable[..., Result]) -> None:
    # The folder's fixture takes all AWS variables out of the environment.
    result = cli("plan", "w.yaml", "--set", "emulator=null", "--set", "aws.profile=nobody")
    assert result.exit_code == 0
    assert "without completion.queue_url: probes of S3 are not counted" in result.stdout


def test_dead_letters_show_and_do_not_fail(cli: Callable[..., Result], folder: Path) -> None:
    with (folder / "in.jsonl").open("a") as file:
        file.write('{"id": "r6", \n{"text": "nameless"}\n{"id": "big", "text": "' + "x" * 130_000)
        file.write('"}\n')
    result = cli("plan", "w.yaml", "--set", "emulator=null")
    assert result.exit_code == 0
    assert "refused    1 bad_json; the first, in.jsonl, line 6, column " in result.stdout
    assert "refused    1 missing_key; the first, in.jsonl, line 7: " in result.stdout
    assert "refused    1 no_staging; the first, in.jsonl, line 8: " in result.stdout
    assert "recommended  staging: {bucket: ...}\n" in result.stdout
    assert "saves        1 record from the dead letters\n" in result.stdout
    # Nothing is left out: it is wrapped.
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    words = " ".join(result.stdout.split())
    assert "set staging.bucket to send larger ones through S3" in words
    assert "requests inline S3 refused per 1M" in words


def test_a_request_that_is_not_full_is_not_scaled(cli: Callable[..., Result], folder: Path) -> None:
    lines = [json.dumps({"id": f"r{number:05}", "n": 10_000 + number}) for number in range(3_000)]
    (folder / "in.jsonl").write_text("\n".join(lines))
    packed = ["--set", "packing.framing=lines", "--set", "packing.max_records=30"]
    assert cli("plan", "w.yaml", *packed).stdout.startswith("100 requests for 3,000 records\n")
    for sample in ("1", "29", "30", "31", "61", "2000"):
        result = cli("plan", "w.yaml", *packed, "--sample", sample)
        assert result.stdout.startswith("about 100 requests for about 3,000 records\n"), sample
    assert "inline     67 requests with 2,000 records, " in result.stdout
    assert "; the last one is not full yet\n" in result.stdout


def test_files_that_are_a_record_each(cli: Callable[..., Result], folder: Path) -> None:
    (folder / "images").mkdir()
    for number in range(40):
        (folder / "images" / f"{number:02}.jpg").write_bytes(b"\xff\xd8" + bytes(1_000))
    (folder / "images" / "03.jpg").write_bytes(b"")
    files = ["--set", "source={type: files, path: 'images/*.jpg'}"]
    files += ["--set", "packing.encodings=[raw]"]
    whole = cli("plan", "w.yaml", *files)
    assert whole.exit_code == 0, whole.stderr
    assert whole.stdout.startswith("39 requests for 40 records\n")
    assert "refused    1 empty_file; the first, images/03.jpg is empty\n" in whole.stdout
    # What is no JSON has no other encoding.
    assert "recommended  nothing: these records cannot be packed in another way" in whole.stdout
    sample = cli("plan", "w.yaml", *files, "--sample", "10")
    assert sample.stdout.startswith("about 36 requests for about 40 records\n")
    assert sorted(path.name for path in folder.iterdir()) == ["images", "in.jsonl", "w.yaml"]


def test_a_queue_is_not_read(cli: Callable[..., Result], folder: Path) -> None:
    url = "https://sqs.eu-west-1.amazonaws.com/1/in"
    (folder / "q.yaml").write_text(f"endpoint: churn\nsource: {{type: sqs, queue_url: '{url}'}}\n")
    result = cli("plan", "q.yaml")
    assert result.exit_code == 1
    assert "plan would have to take messages out of the queue" in result.stderr
    advised = [
        *("--set", "source.type=jsonl", "--set", "source.queue_url=null"),
        *("--set", "source.path=in.jsonl"),
    ]
    assert " ".join(advised).replace("in.jsonl", "FILE") in result.stderr
    result = cli("plan", "q.yaml", *advised)
    assert result.exit_code == 0
    assert "5 requests" in result.stdout


def test_a_sample_is_extrapolated_by_the_size_of_the_files(cli: Callable[..., Result]) -> None:
    result = cli("plan", "w.yaml", "--sample", "2")
    # Two lines of 25 and 26 bytes, of 135 in all.
    assert result.stdout.startswith("about 5 requests for about 5 records\nabout $0.000032; ")
    assert (
        "records    2 of 49 B, 38% of the input: the totals are rough estimates\n" in result.stdout
    )
    assert cli("plan", "w.yaml", "--sample", "5").stdout == cli("plan", "w.yaml").stdout


def test_standard_input(folder: Path) -> None:
    given = (folder / "in.jsonl").read_text()
    done = subprocess.run(
        [sys.executable, "-m", "dispatcher", "plan", "w.yaml", "--set", "source.path=-"],
        input=given,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("5 requests for 5 records\n")


def test_the_json_document(cli: Callable[..., Result]) -> None:
    result = cli("plan", "w.yaml", "--json")
    found = json.loads(result.stdout)
    documented = (Path(__file__).parents[2] / "docs" / "plan.md").read_text()
    for name in _names(found):
        assert f"`{name}`" in documented, f"docs/plan.md does not name {name}"


def _names(document: object) -> set[str]:
    """Return the names of all fields; what is named by the configuration is none."""
    if isinstance(document, list):
        return set().union(*map(_names, document[:1]))
    if not isinstance(document, dict):
        return set()
    deeper = [value for name, value in document.items() if name not in OF_THE_CONFIGURATION]
    return set(document).union(*map(_names, deeper))


def test_prices_are_given_one_by_one_or_in_a_file(cli: Callable[..., Result], folder: Path) -> None:
    (folder / "prices.yaml").write_text("s3_get: 1\nsqs_request: 0\n")
    result = cli("plan", "w.yaml", "--price", "prices.yaml", "--price", "s3_put=10.0")
    assert result.exit_code == 0
    assert row(result, "S3 PUT of outputs") == ["$10.00", "$10.00"]
    assert row(result, "S3 GET of outputs") == ["$1.00", "$1.00"]
    assert row(result, "SQS receive and delete") == ["$0", "$0"]
    words = " ".join(result.stdout.split())
    assert "check before quoting; given: s3_get, s3_put, sqs_request tried" in words
    assert max(len(line) for line in result.stdout.splitlines()) <= 80


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        ("s3=5", f"there is no price 's3'; there are {', '.join(PRICE_NAMES)}"),
        ("s3_put=cheap", "s3_put: cheap is no price in dollars per million"),
        ("s3_put=-1", "s3_put: -1 is no price in dollars per million"),
        ("nowhere.yaml", "write NAME=DOLLARS, or name a file with lines NAME: DOLLARS"),
        ("in.jsonl", "write NAME=DOLLARS, or name a file with lines NAME: DOLLARS"),
    ],
)
def test_prices_that_are_none(cli: Callable[..., Result], price: str, expected: str) -> None:
    result = cli("plan", "w.yaml", "--price", price)
    assert result.exit_code == 1
    assert expected in result.stderr


def test_responses_in_events(cli: Callable[..., Result]) -> None:
    result = cli("plan", "w.yaml", "--response-in-event")
    assert row(result, "S3 GET of outputs") == ["$0", "$0.40"]
    result = cli("plan", "w.yaml", "--response-in-event", "--output-size", "200kB")
    assert row(result, "S3 GET of outputs") == ["$0.40", "$0.40"]
    result = cli("plan", "w.yaml", "--output-size", "many")
    assert result.exit_code == 1
    assert "'many' is not a size" in result.stderr


@pytest.mark.parametrize(
    "override", ["source.path=nowhere.jsonl", "packing.max_records=7", "ledger.pth=x"]
)
def test_what_a_run_would_refuse_is_refused(cli: Callable[..., Result], override: str) -> None:
    result = cli("plan", "w.yaml", "--set", override)
    assert result.exit_code == 1
    assert result.stdout == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_shows_what_was_read_so_far(
    start: Start, folder: Path, number: signal.Signals
) -> None:
    os.mkfifo(folder / "pipe")
    process = start("plan", "w.yaml", "--json", "--set", "source.path=pipe")
    assert process.stderr is not None
    with (folder / "pipe").open("w") as pipe:
        pipe.write((folder / "in.jsonl").read_text())
        pipe.flush()
        # It says how far it is while it waits for more.
        while "read 5 records" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(number)
        stdout, _ = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    found = json.loads(stdout)
    assert (found["records"], found["complete"], found["scale"]) == (5, False, None)


def test_a_signal_before_anything_was_read(start: Start, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    process = start("plan", "w.yaml", "--set", "source.path=pipe")
    assert process.stderr is not None
    with (folder / "pipe").open("w"):
        while "read 0 records" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        stdout, _ = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGINT
    assert stdout == "nothing was read\n"
