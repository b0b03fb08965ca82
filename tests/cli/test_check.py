"""``check`` says what would run and whether it could, and writes nothing."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result


def test_all_is_well(cli: Callable[..., Result], folder: Path) -> None:
    before = sorted(folder.iterdir())
    result = cli("check", "w.yaml")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert (
        result.stdout
        == """\
endpoint      churn on the embedded emulator, model echo
source        1 file, 135 B, key is the field id
packing       json, framing none, 1 record an invocation
staging       above 128.0 kB to the emulator's bucket
limits        64 calls at once, 2,000 invocations outstanding
completion    events of the emulator, S3 after 1m00s without one
results       results.jsonl, join output
dead letters  dead.jsonl
ledger        state/ledger.db, durability full

ok  source        in.jsonl, 135 B
ok  ledger        state/ledger.db, new
ok  results       results.jsonl, new
ok  dead letters  dead.jsonl, new
"""
    )
    assert sorted(folder.iterdir()) == before


def test_a_real_account_is_described(
    cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    result = cli("check", "w.yaml", "--set", "emulator=null")
    assert "endpoint      churn in eu-west-1\n" in result.stdout
    assert "staging       none: records above 128.0 kB become dead letters\n" in result.stdout
    expected = "completion    no queue: S3 is asked when completions are expected\n"
    assert expected in result.stdout


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("source.path=nowhere", "FAILED  source        source.path: nowhere does not exist"),
        ("source.path=taken", "FAILED  source        source.path: taken is a folder"),
        ("source.path='*.csv'", "FAILED  source        source.path: no file matches *.csv"),
        ("sink.path=taken", "FAILED  results       taken is a folder; name a file in sink.path"),
        ("ledger.path=in.jsonl/l.db", "in.jsonl is a file; choose another ledger.path"),
        ("sink.path=old.jsonl", "FAILED  run           old.jsonl holds lines of another run"),
        ("ledger.path=old.jsonl", "FAILED  run           the ledger old.jsonl cannot be read"),
    ],
)
def test_what_would_stop_a_run(
    cli: Callable[..., Result], folder: Path, override: str, expected: str
) -> None:
    (folder / "taken").mkdir()
    (folder / "old.jsonl").write_text("{}\n")
    result = cli("check", "w.yaml", "--set", override)
    assert result.exit_code == 1
    assert expected in result.stdout


def test_a_folder_that_may_not_be_written_to(
    cli: Callable[..., Result], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tests may run as root, whom no permission stops.
    monkeypatch.setattr(os, "access", lambda _, mode: not mode & os.W_OK)
    result = cli("check", "w.yaml")
    assert result.exit_code == 1
    assert f"FAILED  results       results.jsonl: {folder} may not be written to" in result.stdout


def test_a_framing_alone_packs_nothing_and_the_key_is_named(cli: Callable[..., Result]) -> None:
    result = cli("check", "w.yaml", "--set", "packing.framing=lines")
    row = "packing       json, framing lines, 1 record an invocation"
    assert f"{row}; set packing.max_records to send more\n" in result.stdout
    several = cli("check", "w.yaml", "--set", "packing={framing: lines, max_records: 9}")
    assert "framing lines, up to 9 records an invocation\n" in several.stdout


def test_many_files_are_counted(cli: Callable[..., Result], folder: Path) -> None:
    (folder / "in").mkdir()
    for i in range(30):
        (folder / "in" / f"{i:02}.jsonl").write_text("{}\n")
    result = cli("check", "w.yaml", "--set", "source.path=[in/*.jsonl, gone.jsonl]")
    assert result.exit_code == 1
    result = cli("check", "w.yaml", "--set", "source.path=in/*.jsonl")
    assert result.exit_code == 0
    assert "source        30 files, 90 B" in result.stdout
    assert result.stdout.count("ok  source") == 21
    assert "and 10 more files" in result.stdout


def test_an_earlier_run_is_seen(cli: Callable[..., Result]) -> None:
    assert cli("run", "w.yaml").exit_code == 0
    result = cli("check", "w.yaml")
    assert result.exit_code == 0
    assert "is finished: 5 settled" in result.stdout


def test_the_account_is_looked_at(cli: Callable[..., Result]) -> None:
    result = cli("check", "w.yaml", "--aws")
    assert result.exit_code == 0, result.stdout
    for name in ("credentials", "endpoint", "completion queue", "staging bucket"):
        assert f"ok  {name}" in result.stdout


def test_what_is_missing_in_the_account_fails(cli: Callable[..., Result]) -> None:
    queue = "http://127.0.0.1:1/000000000000/none"
    result = cli("check", "w.yaml", "--aws", "--set", f"completion.queue_url={queue}")
    assert result.exit_code == 1
    assert "FAILED  completion queue" in result.stdout


def test_a_results_file_that_the_run_would_refuse_fails(
    cli: Callable[..., Result], folder: Path
) -> None:
    assert cli("run", "w.yaml").exit_code == 0
    results = folder / "results.jsonl"
    kept = results.read_bytes()
    for content, expected in (
        (kept[:20], f"results.jsonl holds 20 bytes, and the ledger recorded {len(kept)}"),
        (None, f"results.jsonl holds 0 bytes, and the ledger recorded {len(kept)}"),
    ):
        results.unlink()
        if content is not None:
            results.write_bytes(content)
        result = cli("check", "w.yaml")
        assert result.exit_code == 1, result.stdout
        assert expected in result.stdout


@pytest.mark.parametrize(
    ("delete", "expected"),
    [
        ("on_settled", "deleted when settled"),
        ("never", "never deleted"),
        ("by_lifecycle", "deleted by a lifecycle rule"),
    ],
)
def test_what_becomes_of_staged_objects_is_shown(
    cli: Callable[..., Result], delete: str, expected: str
) -> None:
    settings = ("--set", "staging.bucket=inputs", "--set", f"staging.delete={delete}")
    result = cli("check", "w.yaml", *settings)
    assert result.exit_code == 0
    assert f"to s3://inputs/staged/, {expected}\n" in result.stdout
    assert ("put-bucket-lifecycle-configuration" in result.stdout) == (delete == "by_lifecycle")
    if delete == "by_lifecycle":
        rule = result.stdout[result.stdout.index("{") : result.stdout.rindex("}") + 1]
        (only,) = json.loads(rule)["Rules"]
        assert only["Filter"] == {"Prefix": "staged/"}
        assert only["Expiration"]["Days"] >= 2
