"""The folder of a run whose ledger has something of everything."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from tests.ledger.check.sample_run import everything, keep


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    anyio.run(keep, folder, everything)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """Return a copy of a run that has something of everything."""
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    with closing(sqlite3.connect(copy / "ledger.db")) as db, db:
        for name in ("results.jsonl", "dead.jsonl"):
            db.execute(
                "UPDATE sink SET name = ? WHERE name = ?", (str(copy / name), str(whole / name))
            )
    return copy
