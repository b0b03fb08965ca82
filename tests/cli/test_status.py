"""``status`` for people: what is said of files is not said of queues."""

from typing import Any

from dispatcher.cli.status import status_lines
from dispatcher.config.settings import Config
from dispatcher.ledger.check.status import LedgerStatus

QUEUES: dict[str, Any] = {
    "source": {"type": "sqs", "queue_url": "https://sqs/in"},
    "sink": {"type": "sqs", "queue_url": "https://sqs/out"},
    "dead_letters": {"type": "sqs", "queue_url": "https://sqs/dead"},
}


def status_text(
    *, finished: bool = True, repeated: int = 0, split: int = 0, **sections: Any
) -> str:
    config = Config.model_validate({"endpoint": "a", "source": {"path": "in"}, **sections})
    status = LedgerStatus(
        run_tag="abcdefgh",
        created=900.0,
        read=7,
        completed=4,
        dead=2,
        dead_reasons={"bad_json": 2},
        planned=1,
        accepted=0,
        outstanding_records=1,
        oldest_planned=990.0,
        marks=[("in", 1_000, 6)],
        results_bytes=1_200,
        dead_letter_bytes=80,
        repeated=repeated,
        split=split,
        parts=15 * split,
        running=False,
        finished=finished,
    )
    return "\n".join(status_lines(status, config, 1_000.0))


def test_files_have_sizes_and_marks() -> None:
    text = status_text(finished=False)
    assert "results.jsonl, 1.2 kB" in text
    assert "dead.jsonl, 80 B" in text
    assert "resumes at  offset  line" in text
    assert "read to  offset  line" in status_text()


def test_queues_have_neither() -> None:
    text = status_text(finished=True, repeated=0, **QUEUES)
    assert "https://sqs/out\n" in text
    assert "https://sqs/dead\n" in text
    assert "offset" not in text
    assert " B" not in text


def test_repetitions_are_shown_where_there_are_any() -> None:
    assert "perhaps invoked more than once" not in status_text()
    assert "perhaps invoked more than once: 3" in status_text(repeated=3)


def test_what_was_split_is_said() -> None:
    assert "split" not in status_text()
    assert "200 failed, into 3,000 invocations" in status_text(split=200)
