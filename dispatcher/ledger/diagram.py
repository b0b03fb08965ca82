"""Diagram of the table of ``dispatcher.ledger.states``, kept up to date in a document.

    python -m dispatcher.ledger.diagram docs/guarantees.md

Two comments in the document enclose the diagram; what stands between them is replaced.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from dispatcher.ledger.states import LATE, TABLE, Move, State

BEGIN = "<!-- begin: made by `python -m dispatcher.ledger.diagram` from the table of states -->"
END = "<!-- end -->"


def diagram(table: Mapping[tuple[State, Move], State]) -> str:
    """Return a Mermaid state diagram of the moves of a table; a state without a move ends it."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.PLANNED.name.lower()}: plan"]
    lines += [
        f"    {before.name.lower()} --> {after.name.lower()}: {move}"
        for (before, move), after in sorted(table.items())
    ]
    ends = {after for after in table.values() if not any(before is after for before, _ in table)}
    lines += [f"    {end.name.lower()} --> [*]" for end in sorted(ends)]
    return "\n".join(lines)


def section() -> str:
    """Return the diagram and the table of late moves, as they stand in the document."""
    late = "\n".join(
        f"| {state.name.lower()} | {', '.join(sorted(m for s, m in LATE if s is state))} |"
        for state in sorted({state for state, _ in LATE})
    )
    return (
        f"```mermaid\n{diagram(TABLE)}\n```\n\n"
        "What comes late is counted and changes nothing:\n\n"
        f"| an invocation that is | ignores |\n|---|---|\n{late}"
    )


def with_diagram(document: str) -> str:
    """Return a document with the diagram of the present table.

    Raises:
        ValueError: The document lacks the two comments.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the document has no lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{section()}\n{END}{after}"


def main(path: Path) -> None:
    """Update the diagram in a document."""
    path.write_text(with_diagram(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
