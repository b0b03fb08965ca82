"""The emulator inside a command fills in what the configuration leaves out."""

from typing import Any

from dispatcher.cli.embedded_emulator import emulator_for, with_emulator_state
from dispatcher.config.settings import Config

BASE = {"endpoint": "churn", "source": {"path": "in"}, "ledger": {"path": "state/l.db"}}


def config(**sections: Any) -> Config:
    return Config.model_validate({**BASE, **sections})


def test_its_state_lies_beside_the_ledger_unless_it_has_a_folder() -> None:
    beside = with_emulator_state(config(emulator={}))
    assert beside.emulator is not None
    assert beside.emulator.state == "state/l.db.emulator"
    own = config(emulator={"state": "mine"})
    assert with_emulator_state(own) is own
    assert with_emulator_state(config()).emulator is None


async def test_without_an_emulator_the_configuration_stays() -> None:
    given = config()
    async with emulator_for(given) as (reached, access):
        assert (reached, access) == (given, None)


async def test_queue_and_bucket_are_filled_in_where_they_are_missing() -> None:
    async with emulator_for(config(emulator={})) as (reached, access):
        assert access is not None
        assert access.endpoint_url is not None
        assert reached.completion.queue_url is not None
        assert reached.completion.queue_url.startswith(access.endpoint_url)
        assert reached.staging.bucket
    async with emulator_for(config(emulator={}, staging={"bucket": "mine"})) as (reached, _):
        assert reached.staging.bucket == "mine"
