"""Open the sinks of a run, each of the kind that the configuration names."""

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

from dispatcher.config.connectors import DeadLetterSettings, SinkSettings
from dispatcher.connectors.jsonl.sink import JsonlFile, JsonlSink
from dispatcher.connectors.outcome_lines import dead_letter_line, result_line
from dispatcher.connectors.sink import Sink
from dispatcher.connectors.sqs.sink import SinkQueue, SqsSink
from dispatcher.ledger.operations import SinkMark
from dispatcher.ledger.outcome import Outcome
from dispatcher.retry.outage_timer import OutageTimer


@contextmanager
def open_sinks(
    *,
    sink: SinkSettings,
    dead_letters: DeadLetterSettings,
    durable: bool,
    sink_mark: Callable[[str], SinkMark | None],
    queue: Callable[[str], SinkQueue],
    outage_timer: Callable[[str], OutageTimer],
    rng: random.Random,
) -> Iterator[tuple[Sink, Sink]]:
    """Open the sinks of results and of dead letters, and close them at the end of the block.

    Args:
        sink: The section ``sink``.
        dead_letters: The section ``dead_letters``.
        durable: A line in a file has to survive a power loss, too.
        sink_mark: Returns how far the ledger recorded the sink with a name as written.
        queue: Returns the calls to the queue with a URL.
        outage_timer: Makes the timer of an outage; takes what is not done meanwhile, as words.
        rng: Jitters the waits after failed calls.

    Raises:
        ConfigError: A file cannot be written to.
        StateError: A file is not the one the ledger knows, or another process writes it.
    """
    # What was selected already has in its output what it takes from the input.
    join = "output" if sink.select is not None else sink.join
    with ExitStack() as stack:

        def open_sink(
            settings: SinkSettings | DeadLetterSettings, render: Callable[[Outcome], bytes]
        ) -> Sink:
            if settings.queue_url is None:
                file = JsonlFile.open(settings.path, sink_mark(settings.path))
                return JsonlSink(stack.enter_context(closing(file)), render, durable=durable)
            return SqsSink(
                queue=queue(settings.queue_url),
                render=render,
                outage_timer=outage_timer(f"{settings.queue_url} could not be sent to"),
                rng=rng,
            )

        yield (
            open_sink(sink, lambda outcome: result_line(outcome, join, meta=sink.meta)),
            open_sink(dead_letters, dead_letter_line),
        )
