"""The document shows the table of states as it is."""

from pathlib import Path

import pytest

from dispatcher.ledger.diagram import BEGIN, END, diagram, main, section, with_diagram
from dispatcher.ledger.states import LATE, TABLE, Move, State

DOCUMENT = Path(__file__).parents[2] / "docs" / "guarantees.md"


def test_the_document_shows_the_table() -> None:
    text = DOCUMENT.read_text()
    assert text == with_diagram(text), (
        "the table of states has changed: renew its diagram with "
        "`python -m dispatcher.ledger.diagram docs/guarantees.md`"
    )


def test_every_move_is_drawn_and_every_late_one_is_listed() -> None:
    text = section()
    for (before, move), after in TABLE.items():
        assert f"    {before.name.lower()} --> {after.name.lower()}: {move}\n" in text
    drawing = text[text.index("stateDiagram") :]
    assert drawing.count(" --> ") == len(TABLE) + 3  # the beginning and two ends
    for state, move in LATE:
        (row,) = [line for line in text.splitlines() if line.startswith(f"| {state.name.lower()} ")]
        assert move in row


def test_a_diagram_begins_with_a_plan_and_ends_where_nothing_leads_on() -> None:
    table = {(State.PLANNED, Move.ACCEPT): State.ACCEPTED}
    assert diagram(table) == (
        "stateDiagram-v2\n"
        "    [*] --> planned: plan\n"
        "    planned --> accepted: accept\n"
        "    accepted --> [*]"
    )


def test_only_what_stands_between_the_marks_is_with_diagram(tmp_path: Path) -> None:
    path = tmp_path / "guarantees.md"
    path.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    main(path)
    text = path.read_text()
    assert text.startswith(f"before\n{BEGIN}\n```mermaid\nstateDiagram-v2\n")
    assert text.endswith(f"\n{END}\nafter\n")
    assert "old" not in text
    assert with_diagram(text) == text


@pytest.mark.parametrize("document", ["", BEGIN, END, f"{END}{BEGIN}"])
def test_a_document_without_a_place_for_it_is_left_alone(tmp_path: Path, document: str) -> None:
    path = tmp_path / "guarantees.md"
    path.write_text(document)
    with pytest.raises(ValueError, match="has no lines"):
        main(path)
    assert path.read_text() == document
