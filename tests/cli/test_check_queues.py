"""``check`` of a run from queue to queue: what it names, and with --aws what they answer."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from click.testing import Result

from dispatcher.config.settings import EmulatorSettings
from dispatcher.emulator.server import Emulator

CONFIG = """\
endpoint: churn
source: {{type: sqs, queue_url: {url}/in, until_empty: 5s}}
completion: {{queue_url: {url}/completions}}
sink: {{type: sqs, queue_url: {url}/out}}
dead_letters: {{type: sqs, queue_url: {url}/dead}}
ledger: {{path: state/ledger.db}}
"""


@pytest.fixture
def account(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """Run an emulator with the queues ``in`` and ``out`` beside the command line."""
    settings = EmulatorSettings.model_validate({"service_time": "1ms"})
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Emulator(settings, endpoints=["churn"])) as emulator,
    ):
        for name, value in emulator.environment.items():
            monkeypatch.setenv(name, value)
        mailbox = emulator._queues.create("in")
        for n in range(3):
            portal.call(mailbox.send, str(n))
        emulator._queues.create("out")
        url = f"{emulator.url}/000000000000"
        (folder / "q.yaml").write_text(CONFIG.format(url=url))
        yield emulator


def test_queues_are_named(cli: Callable[..., Result], account: Emulator) -> None:
    result = cli("check", "q.yaml")
    assert result.exit_code == 0, result.stdout
    url = f"{account.url}/000000000000"
    source = f"source        {url}/in, key is the message's id, ends when it delivered nothing for "
    assert source in result.stdout
    assert f"results       {url}/out, join output\n" in result.stdout
    assert f"dead letters  {url}/dead\n" in result.stdout


def test_queues_are_looked_at(cli: Callable[..., Result], account: Emulator) -> None:
    policy = '{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:0:d", "maxReceiveCount": 7}'
    account._queues.by_name["in"].attributes["RedrivePolicy"] = policy
    result = cli("check", "q.yaml", "--aws")
    assert result.exit_code == 1, result.stdout
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    url = f"{account.url}/000000000000"
    assert (
        f"ok source queue {url}/in answers, 3 messages, visibility time-out 30s, to its "
        "dead-letter queue after 7 receives"
    ) in lines
    assert f"ok results queue {url}/out answers" in lines
    assert any(line.startswith("FAILED dead-letter queue") for line in lines)


def test_a_source_that_hides_nothing_fails(cli: Callable[..., Result], account: Emulator) -> None:
    account._queues.create("dead")
    account._queues.by_name["in"].attributes["VisibilityTimeout"] = "0"
    result = cli("check", "q.yaml", "--aws")
    assert result.exit_code == 1
    assert "in has a VisibilityTimeout of 0; set it to 30 seconds or more" in result.stdout


def test_a_missing_permission_is_reported_and_the_run_may_begin(
    cli: Callable[..., Result], account: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "denied")
    result = cli("check", "q.yaml", "--aws")
    assert "unknown  source queue" in result.stdout


def test_a_fifo_queue_is_refused(cli: Callable[..., Result], account: Emulator) -> None:
    result = cli("check", "q.yaml", "--set", f"sink.queue_url={account.url}/0/out.fifo")
    assert result.exit_code == 1
    assert "FIFO" in result.stderr


def test_more_than_a_queue_gives_is_reported(cli: Callable[..., Result], account: Emulator) -> None:
    many = ("--set", "packing.framing=lines", "--set", "packing.max_records=100")
    assert "SQS delivers no more" in cli("check", "q.yaml", *many).stdout
    assert "SQS delivers no more" not in cli("check", "q.yaml").stdout
