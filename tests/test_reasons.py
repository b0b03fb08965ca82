"""The reasons of dead letters: each one is documented as it is, and used.

    python -m tests.test_reasons

writes the table in docs/operations.md from ``dispatcher/reasons.py``.
"""

import ast
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

import dispatcher
from dispatcher.reasons import Reason, Status

ROOT = Path(dispatcher.__file__).parent
DOCUMENT = Path(__file__).parents[1] / "docs" / "operations.md"
BEGIN = "<!-- begin: made by `python -m tests.test_reasons` from dispatcher/reasons.py -->"
END = "<!-- end -->"


def table() -> str:
    """Return the table of all reasons, in the order of the enumeration."""
    head = "| reason | status | meaning | what to do | splitting can help |\n|---|---|---|---|---|"
    rows = [
        f"| `{reason}` | {reason.status} | {reason.meaning} | {reason.remedy} "
        f"| {'yes' if reason.can_split else 'no'} |"
        for reason in Reason
    ]
    return "\n".join([head, *rows])


def with_table(document: str) -> str:
    """Return a document with the table between its two marks replaced."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin, f"the document has no line {BEGIN}"
    assert end, f"the document has no line {END}"
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


@cache
def used() -> frozenset[str]:
    """Return the codes of the reasons that modules other than ``reasons.py`` name."""
    found = set()
    for path in ROOT.rglob("*.py"):
        if path == ROOT / "reasons.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Attribute(value=ast.Name("Reason"), attr=name) if name.isupper():
                    found.add(Reason[name].value)
    return frozenset(found)


def test_the_document_shows_every_reason() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    assert document == with_table(document), (
        "dispatcher/reasons.py has changed: run `python -m tests.test_reasons`"
    )


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_complete_and_used(reason: Reason) -> None:
    assert reason == reason.name.lower()
    assert reason.status in get_args(Status)
    assert reason.status != "completed"
    assert "|" not in reason.meaning + reason.remedy, "it would end the cell of a table"
    assert reason in used(), "nothing gives a record this reason"


def test_the_architecture_says_where_every_reason_is_born() -> None:
    document = (DOCUMENT.parent / "architecture.md").read_text(encoding="utf-8")
    _, _, section = document.partition("## Where each reason of a dead letter is born\n")
    section, _, _ = section.partition("\n## ")
    assert [reason for reason in Reason if f"`{reason}`" not in section] == []


def test_only_what_an_endpoint_did_to_a_record_can_be_split() -> None:
    assert all(reason.status != "rejected" for reason in Reason if reason.can_split)


if __name__ == "__main__":
    DOCUMENT.write_text(with_table(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
