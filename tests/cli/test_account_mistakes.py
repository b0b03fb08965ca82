"""Mistakes that only the account or the file system can show, and the run after they are mended."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from click.testing import Result

from dispatcher.config.settings import EmulatorSettings
from dispatcher.emulator.server import Emulator

RECORDS = 5  # in.jsonl of the fixture ``folder``


@pytest.fixture
def account(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """Run an emulator beside the command line, as an account does; the environment leads to it."""
    settings = EmulatorSettings.model_validate({"service_time": "1ms"})
    # Nothing of this machine's own credentials may be found.
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Emulator(settings, endpoints=["churn"])) as emulator,
    ):
        for name, value in emulator.environment.items():
            monkeypatch.setenv(name, value)
        (folder / "w.yaml").write_text(
            "endpoint: churn\n"
            "source: {path: in.jsonl, key: id}\n"
            f"completion: {{queue_url: {emulator.queue_url}, sweep_after: 1s}}\n"
            f"staging: {{bucket: {emulator.input_bucket}}}\n"
            "ledger: {path: state/ledger.db}\n"
            "sink: {path: results.jsonl}\n"
            "dead_letters: {path: dead.jsonl}\n"
        )
        yield emulator


@dataclass(frozen=True)
class Mistake:
    """One wrong setting or variable, the message about it, and the advice."""

    code: int
    message: str
    advice: str
    override: str | None = None
    environment: tuple[tuple[str, str | None], ...] = ()


NO_CREDENTIALS = (("AWS_ACCESS_KEY_ID", None), ("AWS_SECRET_ACCESS_KEY", None))
MISTAKES = {
    "no such endpoint": Mistake(
        3, "invoking endpoint curn failed", "Check its name and the region", "endpoint=curn"
    ),
    "access denied": Mistake(
        3,
        "AWS refuses",
        "Check the credentials and that their policy allows it",
        environment=(("AWS_ACCESS_KEY_ID", "denied"),),
    ),
    "missing credentials": Mistake(
        3,
        "no AWS credentials were found",
        "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID",
        environment=NO_CREDENTIALS,
    ),
    "queue missing": Mistake(
        3,
        "does not exist",
        "Check its name and the region",
        "completion.queue_url={url}/000000000000/no-such-queue",
    ),
    "bucket missing": Mistake(
        3, "no-such-bucket", "Check its name and the region", "staging.bucket=no-such-bucket"
    ),
    "no file": Mistake(
        1, "absent.jsonl does not exist", "correct the path", "source.path=absent.jsonl"
    ),
    "a file in a file": Mistake(
        1, "in.jsonl/x.jsonl", "correct the path", "source.path=in.jsonl/x.jsonl"
    ),
    "an unreadable file": Mistake(
        1,
        "loop.jsonl cannot be read (Too many levels of symbolic links)",
        "correct the path or its permissions",
        "source.path=loop.jsonl",
    ),
    "a folder as the source": Mistake(1, "taken is a folder", "write taken/*", "source.path=taken"),
    "a folder as the results": Mistake(
        1, "taken is a folder", "name a file in it, such as taken/", "sink.path=taken"
    ),
    "a folder as the ledger": Mistake(
        3, "the ledger taken cannot be opened", "Name a file in ledger.path", "ledger.path=taken"
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_reported_and_once_corrected_nothing_is_lost(
    account: Emulator,
    cli: Callable[..., Result],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    mistake = MISTAKES[name]
    (folder / "taken").mkdir()
    (folder / "loop.jsonl").symlink_to("loop.jsonl")
    wrong = ["--set", mistake.override.format(url=account.url)] if mistake.override else []
    with monkeypatch.context() as environment:
        for variable, value in mistake.environment:
            if value is None:
                environment.delenv(variable)
            else:
                environment.setenv(variable, value)
        result = cli("run", "w.yaml", "--progress", "none", *wrong)
    error = result.stderr[result.stderr.index("error: ") :]
    assert result.exit_code == mistake.code, result.stderr
    assert error.count("\n") == 1, "one paragraph"
    assert mistake.message in error
    assert mistake.advice in error
    assert "bug" not in error
    assert result.stdout == ""

    mended = cli("run", "w.yaml", "--progress", "none")
    assert mended.exit_code == 0, mended.stderr
    assert f"read {RECORDS} = completed {RECORDS} + dead 0" in mended.stderr
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert sorted(line["key"] for line in lines) == [f"r{i}" for i in range(RECORDS)]
    assert all(line["output"]["id"] == line["key"] for line in lines)
    assert account.endpoint("churn").accepted == RECORDS
