"""Open the source of a run, of the kind that the configuration names."""

from collections.abc import Callable
from pathlib import Path

from dispatcher.config.connectors import SourceSettings
from dispatcher.config.packing import PackingSettings
from dispatcher.connectors.files.source import FilesSource, must_be_json
from dispatcher.connectors.jsonl.source import JsonlSource
from dispatcher.connectors.sqs.message import SourceQueue
from dispatcher.connectors.sqs.source import SqsSource
from dispatcher.environment import Environment
from dispatcher.records.source import MessageLog, Source
from dispatcher.retry.outage_timer import OutageTimer


def open_source(
    *,
    source: SourceSettings,
    packing: PackingSettings,
    ledger_path: Path,
    queue: Callable[[str], SourceQueue],
    message_log: Callable[[str], MessageLog],
    outage_timer: Callable[[str], OutageTimer],
    environment: Environment,
) -> Source:
    """Return the source; its ``open`` has not been called.

    Args:
        source: The section ``source``.
        packing: The section ``packing``.
        ledger_path: See ``open_file_source``.
        queue: Returns the calls to the queue with a URL.
        message_log: Returns what the ledger recorded about the messages of the queue with a URL.
        outage_timer: Makes the timer of an outage; takes what is not done meanwhile, as words.
        environment: Clocks and random numbers.
    """
    if source.queue_url is None:
        return open_file_source(source, packing, ledger_path)
    url = source.queue_url
    return SqsSource(
        settings=source,
        queue=queue(url),
        message_log=message_log(url),
        outage_timer=outage_timer(f"{url} could not be received from"),
        environment=environment,
    )


def open_file_source(source: SourceSettings, packing: PackingSettings, ledger_path: Path) -> Source:
    """Return the source of a kind that reads files, which needs neither AWS nor an open ledger.

    Args:
        source: The section ``source``, not of type ``sqs``.
        packing: The section ``packing``.
        ledger_path: The ledger; records too large for memory, and the list of files, lie beside it.
    """
    folder = ledger_path.parent
    if source.type == "files":
        return FilesSource(
            source,
            ledger_path.with_name(f"{ledger_path.name}.files"),
            is_json=must_be_json(source, packing),
            spill_folder=folder,
        )
    return JsonlSource(source, spill_folder=folder)
