"""The emulator inside of a command: started before it, gone after it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dispatcher.aws.session import Access
from dispatcher.config.settings import Config


def remembering(config: Config) -> Config:
    """Give an embedded emulator without a folder for its state one beside the ledger.

    It dies with the run, and what it had accepted must be there when the run goes on.
    """
    emulator = config.emulator
    if emulator is None or emulator.state is not None:
        return config
    remembers = emulator.model_copy(update={"state": f"{config.ledger.path}.emulator"})
    return config.model_copy(update={"emulator": remembers})


@asynccontextmanager
async def emulator_for(config: Config) -> AsyncIterator[tuple[Config, Access | None]]:
    """Start the emulator if the configuration has one.

    Yields:
        The configuration with the emulator's queue and bucket where it names none, and the access
        to the emulator; without an ``emulator`` section the same configuration and None.
    """
    if config.emulator is None:
        yield config, None
        return
    from dispatcher.emulator.server import Emulator  # noqa: PLC0415 - only where it is used

    bucket = config.staging.bucket
    async with Emulator(
        config.emulator, endpoints=[config.endpoint.name], buckets=[bucket] if bucket else []
    ) as emulator:
        completion, staging = config.completion, config.staging
        if completion.queue_url is None:
            completion = completion.model_copy(update={"queue_url": emulator.queue_url})
        if staging.bucket is None:
            staging = staging.model_copy(update={"bucket": emulator.input_bucket})
        access = Access(
            endpoint_url=emulator.url,
            region=emulator.region,
            access_key_id=emulator.access_key_id,
            secret_access_key=emulator.secret_access_key,
        )
        yield config.model_copy(update={"completion": completion, "staging": staging}), access
