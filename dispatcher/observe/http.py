"""The HTTP port of a run: /metrics, /live, /ready and /status.json."""

import errno
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from dispatcher.config.settings import ObserveSettings
from dispatcher.errors import ConfigError
from dispatcher.observe.meter import Meter
from dispatcher.observe.metrics import make_registry
from dispatcher.observe.run_snapshot import Pace
from dispatcher.observe.status_json import status_json

_SHUTDOWN_SECONDS = 0.5
"""A scraper that hangs must not hold up the end of a run."""


@asynccontextmanager
async def serve(
    settings: ObserveSettings, meter: Meter, *, clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[int | None]:
    """Serve monitors while the block runs.

    Args:
        settings: Host and port; without a port nothing is opened.
        meter: The run's counters.
        clock: Seconds, monotonic.

    Yields:
        The port that is open, None without one.

    Raises:
        ConfigError: The port cannot be opened.
    """
    if settings.port is None:
        yield None
        return
    runner = web.AppRunner(
        _application(meter, clock), access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigError(_unopened(settings, error)) from None
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _unopened(settings: ObserveSettings, error: OSError) -> str:
    """Return a sentence with the reason why a port cannot be opened, and the remedy."""
    place = f"observe: port {settings.port} on {settings.host}"
    if error.errno == errno.EADDRINUSE:
        return (
            f"{place} is in use by another process; set observe.port to a free one, to 0 for any, "
            "or remove it to open none"
        )
    if error.errno == errno.EACCES:
        return f"{place} may not be opened; ports from 1024 on need no privilege"
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
    return f"{place} cannot be opened ({reason}); observe.host must be an address of this machine"


def _application(meter: Meter, clock: Callable[[], float]) -> web.Application:
    registry = make_registry(meter)
    pace = Pace(clock())

    async def metrics(request: web.Request) -> web.Response:
        return _metrics(registry, request.headers.get("Accept", ""))

    async def live(_: web.Request) -> web.Response:
        return web.Response(text="live\n")

    async def ready(_: web.Request) -> web.Response:
        if meter.phase in ("running", "draining"):
            return web.Response(text=f"ready: {meter.phase}\n")
        return web.Response(status=503, text=f"not ready: {meter.phase}\n")

    async def status(_: web.Request) -> web.Response:
        body = status_json(meter, clock(), pace)
        return web.Response(body=body, content_type="application/json")

    application = web.Application()
    application.router.add_get("/metrics", metrics)
    application.router.add_get("/live", live)
    application.router.add_get("/ready", ready)
    application.router.add_get("/status.json", status)
    return application


def _metrics(registry: CollectorRegistry, accept: str) -> web.Response:
    encode, content_type = choose_encoder(accept)
    return web.Response(body=encode(registry), headers={"Content-Type": content_type})
