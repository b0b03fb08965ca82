"""A message becomes a record, or an item that says why it is none and keeps all of it."""

import pytest

from dispatcher.config.connectors import SourceSettings
from dispatcher.connectors.sqs.message import item_of_message
from dispatcher.records.record import Position, Record, Unreadable
from tests.connectors.sqs.queue import URL


def test_a_record_is_on_one_line() -> None:
    settings = SourceSettings(type="sqs", queue_url=URL, key="id")
    item = item_of_message(Position(URL, 0, 1, 1, "m"), ' {"id":\n3} ', settings)
    assert isinstance(item, Record)
    assert (item.key, item.raw) == (3, b'{"id": 3}')


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("nonsense", "bad_json"),
        (" \n ", "bad_json"),
        ("[1]", "missing_key"),
        ('{"id": null}', "bad_key"),
        ('{"id": "' + "x" * 100 + '"}', "too_large"),
        ('{"id": "\ud800"}', "bad_utf8"),
    ],
)
def test_what_is_no_record_is_kept_whole_for_its_dead_letter(body: str, reason: str) -> None:
    settings = SourceSettings(type="sqs", queue_url=URL, key="id", max_record=50)
    message = item_of_message(Position(URL, 0, 1, 1, "m"), body, settings)
    assert isinstance(message, Unreadable)
    assert (message.reason, message.key) == (reason, "m")
    assert message.raw == body.strip().encode("utf-8", "surrogatepass")
    assert f"{URL}, message m" in message.message
