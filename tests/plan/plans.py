"""Plans of small inputs, and their text."""

from collections.abc import Iterator
from typing import Any

from dispatcher.config.settings import Config
from dispatcher.plan.cost import Assumptions, Prices
from dispatcher.plan.extent import Extent
from dispatcher.plan.planner import DryRun, Planner
from dispatcher.plan.report import report
from dispatcher.records.record import Item, Position, Record


def records(lines: Iterator[bytes] | list[bytes], stream: str = "in.jsonl") -> list[Item]:
    items: list[Item] = []
    end = 0
    for number, line in enumerate(lines, 1):
        position = Position(stream, end, end + len(line) + 1, number)
        end = position.end
        items.append(Record(position, f"k{number}", line))
    return items


def config(**packing: Any) -> Config:
    return Config.model_validate(
        {
            "endpoint": "churn",
            "source": {"path": "in.jsonl"},
            "packing": packing,
            "staging": {"bucket": "my-inputs"},
            "completion": {"queue_url": "https://sqs/q"},
        }
    )


WHOLE = Extent(complete=True, scale=1.0)


def plan_of(
    items: list[Item], settings: Config, *, trial_bytes: int = 4_000_000, extent: Extent = WHOLE
) -> DryRun:
    planner = Planner(settings, Assumptions(), Prices(), trial_bytes=trial_bytes)
    for start in range(0, len(items), 7):
        planner.add(items[start : start + 7])
    return planner.finish(extent)


def text_of(plan: DryRun) -> str:
    lines = [line.plain for line in report(plan)]
    assert max(map(len, lines)) <= 80
    return "\n".join(lines)


LINES = records([b'"%b"' % (b"x" * 97)] * 40)
