"""The source of a run that reads files, of the kind that the configuration names."""

from pathlib import Path

from dispatcher.config.connectors import SourceSettings
from dispatcher.config.packing import PackingSettings
from dispatcher.connectors.files.source import FilesSource, must_be_json
from dispatcher.connectors.jsonl.source import JsonlSource
from dispatcher.records.source import Source


def file_source(source: SourceSettings, packing: PackingSettings, ledger: Path) -> Source:
    """Return what reads files.

    Args:
        source: The section ``source``.
        packing: The section ``packing``.
        ledger: The ledger; what is too large for memory, and the list of files, lie beside it.
    """
    if source.type == "files":
        listing = ledger.with_name(ledger.name + ".files")
        is_json = must_be_json(source, packing)
        return FilesSource(source, listing, is_json=is_json, spill=ledger.parent)
    return JsonlSource(source, spill=ledger.parent)
