"""Sections that do not fit each other are refused as a whole."""

from typing import Any

import pytest
from pydantic import ValidationError

from dispatcher.config.settings import Config

BASE: dict[str, Any] = {"endpoint": "a", "source": {"path": "in"}}


def test_an_endpoint_may_be_its_name_and_a_service_time_its_median() -> None:
    config = Config.model_validate({**BASE, "emulator": {"service_time": "30ms"}})
    assert config.endpoint.name == "a"
    assert config.emulator is not None
    assert (config.emulator.service_time.median, config.emulator.service_time.p99) == (0.03, None)


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        ({"sink": {"path": "dead.jsonl"}}, "must be two different files"),
        ({"packing": {"answer": {"id": "id"}}}, "set source.key"),
        (
            {"emulator": {"service_time": {"median": "1s", "p99": "1ms"}}},
            "must not be below median",
        ),
    ],
)
def test_what_does_not_fit_together(sections: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        Config.model_validate({**BASE, **sections})
