"""The type of a source or sink decides which of its keys are used; another one's are mistakes."""

from typing import Any

import pytest
from pydantic import ValidationError

from dispatcher.config.settings import Config

QUEUES = [f"https://sqs.eu-west-1.amazonaws.com/1/{name}" for name in "abcd"]


def config(**sections: Any) -> Config:
    return Config.model_validate({"endpoint": "a", "source": {"path": "in"}, **sections})


def test_queues_in_and_out() -> None:
    made = config(
        source={"type": "sqs", "queue_url": QUEUES[0], "until_empty": "30s"},
        sink={"type": "sqs", "queue_url": QUEUES[1], "join": "both"},
        dead_letters={"type": "sqs", "queue_url": QUEUES[2]},
        completion={"queue_url": QUEUES[3]},
    )
    assert (made.source.until_empty, made.source.path, made.sink.join) == (30.0, [], "both")


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"source": {"type": "sqs"}}, "queue_url is missing (SQS queue; the body of a message"),
        ({"source": {"key": "id"}}, "path is missing (file, glob, list of these, or -"),
        ({"sink": {"type": "sqs"}}, "queue_url is missing (SQS queue; each outcome is a message)"),
        ({"dead_letters": {"type": "sqs"}}, "queue_url is missing (SQS queue; each outcome"),
        (
            {"source": {"type": "sqs", "queue_url": QUEUES[0] + ".fifo"}},
            "queue_url names a FIFO queue",
        ),
        (
            {"sink": {"type": "sqs", "queue_url": QUEUES[0] + ".fifo"}},
            "queue_url names a FIFO queue",
        ),
        (
            {"source": {"type": "sqs", "queue_url": QUEUES[0], "path": "in"}},
            "path is a key of type jsonl; this is type sqs",
        ),
        (
            {"source": {"path": "in", "receivers": 4}},
            "receivers is a key of type sqs; this is type jsonl",
        ),
        (
            {"sink": {"queue_url": QUEUES[0]}},
            "queue_url is a key of type sqs; this is type jsonl",
        ),
        (
            {"dead_letters": {"type": "sqs", "queue_url": QUEUES[0], "path": "dead"}},
            "path is a key of type jsonl; this is type sqs",
        ),
        (
            {
                "source": {"type": "sqs", "queue_url": QUEUES[0]},
                "sink": {"type": "sqs", "queue_url": QUEUES[0]},
            },
            "source.queue_url and sink.queue_url must be two different queues",
        ),
        (
            {
                "completion": {"queue_url": QUEUES[1]},
                "dead_letters": {"type": "sqs", "queue_url": QUEUES[1]},
            },
            "completion.queue_url and dead_letters.queue_url must be two different queues",
        ),
    ],
)
def test_keys_of_another_type_and_shared_queues_are_refused(
    sections: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        config(**sections)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("select", "join", "expected"),
    [
        ("input.x", "output", "select takes input, which is only there with join: input or join:"),
        ("{a: output.a, b: length(input.b)}", "output", "select takes input, which is only there"),
        (
            "score",
            "both",
            "select takes score of a result line, which only has key, status, output",
        ),
        ("{s: score}", "output", "did you mean output.score?"),
        ("outputs[0]", "output", "select takes outputs of a result line"),
    ],
)
def test_a_selection_of_what_no_result_line_has_is_refused(
    select: str, join: str, expected: str
) -> None:
    with pytest.raises(ValidationError, match="sink") as caught:
        config(sink={"select": select, "join": join})
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("select", "join"),
    [
        ("input.x", "input"),
        ("[key, status, output.input, meta.route, input]", "both"),
        ("output.[input, score]", "output"),
        ("output.items[?input > `0`] | [0].score", "output"),
        ("merge(@, output)", "output"),
    ],
)
def test_a_selection_of_what_is_there(select: str, join: str) -> None:
    assert config(sink={"select": select, "join": join}).sink.select == select


def test_a_key_that_is_set_to_its_default_is_no_mistake() -> None:
    """A template may list every key."""
    config(source={"path": "in", "receivers": 2, "queue_url": None, "until_empty": None})
    config(sink={"type": "sqs", "queue_url": QUEUES[0], "path": "results.jsonl"})
