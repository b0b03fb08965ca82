"""The emulator inside a command: started before it, stopped after it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dispatcher.aws.session import Access
from dispatcher.config.settings import Config


def with_emulator_state(config: Config) -> Config:
    """Return the configuration with a folder for the embedded emulator's state, beside the ledger.

    The emulator ends with the process, and what it accepted must still exist when the run resumes.
    """
    emulator = config.emulator
    if emulator is None or emulator.state is not None:
        return config
    embedded = emulator.model_copy(update={"state": f"{config.ledger.path}.emulator"})
    return config.model_copy(update={"emulator": embedded})


@asynccontextmanager
async def emulator_for(config: Config) -> AsyncIterator[tuple[Config, Access | None]]:
    """Start the emulator if the configuration has one.

    Yields:
        The configuration with the emulator's queue and bucket where it names none, and access to
        the emulator; without an ``emulator`` section the same configuration and None.
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
