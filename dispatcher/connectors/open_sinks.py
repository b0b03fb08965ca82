"""The sinks of a run, each of the kind that the configuration names."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TypeAlias

from dispatcher.config.connectors import DeadLetterSettings, SinkSettings
from dispatcher.config.settings import Config
from dispatcher.connectors.jsonl.sink import JsonlFile, JsonlSink
from dispatcher.connectors.outcome_lines import dead_letter_line, result_line
from dispatcher.connectors.sink import Sink
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.outcome import Outcome

Render: TypeAlias = Callable[[Outcome], bytes]
"""Makes a line of an outcome."""


@contextmanager
def open_sinks(
    config: Config, ledger: Ledger, queue: Callable[[str, Render], Sink]
) -> Iterator[tuple[Sink, Sink]]:
    """Open where results and dead letters go, and close it at the end of the block.

    Args:
        config: Of the run.
        ledger: Knows how far files are written.
        queue: Makes the sink that is the queue of a URL.

    Raises:
        ConfigError: A place cannot be written to.
        StateError: A file is not the one the ledger knows, or another process writes it.
    """
    durable = config.ledger.durability == "full"
    join, meta = config.sink.join, config.sink.meta
    if config.sink.select is not None:
        join = "output"  # which has of the input what was selected
    with ExitStack() as stack:

        def opened(place: SinkSettings | DeadLetterSettings, render: Render) -> Sink:
            if place.queue_url is not None:
                return queue(place.queue_url, render)
            file = JsonlFile.open(place.path, ledger.sink(place.path))
            return JsonlSink(stack.enter_context(closing(file)), render, durable=durable)

        yield (
            opened(config.sink, lambda outcome: result_line(outcome, join, meta=meta)),
            opened(config.dead_letters, dead_letter_line),
        )
