"""Records into payloads: how many a second of one core, and how full the payloads are.

The records differ from each other. Every contender packs the same ones into payloads of at most
128,000 bytes, and nothing is sent. What is done before the clock starts differs; the table says
what. See benchmarks/README.md.

    python -m benchmarks.packer --plot
"""

import argparse
import gzip
import json
import os
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.report import Bars, Report, Spread, add_options, draw_bars, parse, ratio, table
from benchmarks.rig import surroundings
from dispatcher import limits
from dispatcher.config.connectors import SourceSettings
from dispatcher.config.packing import PackingSettings
from dispatcher.connectors.jsonl.stream_reader import StreamReader
from dispatcher.packing.codec import Codec
from dispatcher.packing.packer import Packer, RefusedRecord
from dispatcher.records.record import Position, Record
from dispatcher.records.source import START

_BATCH = 500
"""Records handed to the packer at once, as sources do."""

OBVIOUS, OBVIOUS_FILE = "json.dumps, from values", "json.dumps, from lines"
OBVIOUS_GZIP = "json.dumps and gzip, from values"
PARSED = "json parsed"
GZIP = "json+gzip"
SPLICED = "json spliced"

OURS: dict[str, dict[str, Any]] = {
    SPLICED: {"encodings": ["json"], "framing": "lines"},
    f"{SPLICED}, array": {"encodings": ["json"], "framing": "json-array"},
    PARSED: {"encodings": ["json"], "framing": "json-array", "select": "@"},
    "msgpack": {"encodings": ["msgpack"], "framing": "msgpack-array"},
    "msgpack+zstd": {"encodings": ["msgpack+zstd"], "framing": "msgpack-array"},
    "json+zstd": {"encodings": ["json+zstd"], "framing": "lines"},
    GZIP: {"encodings": ["json+gzip"], "framing": "lines"},
}
FROM_FILE = f"{SPLICED}, read from a file"

BEGINS = {
    OBVIOUS: "values",
    OBVIOUS_GZIP: "values",
    OBVIOUS_FILE: "file",
    FROM_FILE: "file",
    **dict.fromkeys(OURS, "records"),
}
"""The input when the clock starts: parsed values, checked lines in records, or a file."""

Payloads = list[tuple[int, int]]
"""Records and bytes of each payload."""


def lines(mean: int, count: int, seed: int) -> Iterator[bytes]:
    """Yield JSON lines that are like each other as records of one data set are.

    Words follow Zipf's law over 20,000 of them, a tenth of the bytes are numbers that have nothing
    in common, and sizes spread by a third around the mean.
    """
    rng = random.Random(seed)
    letters = "etaoinshrdlcumwfgypbvk"
    words = ["".join(rng.choices(letters, k=rng.randint(2, 10))) for _ in range(20_000)]
    weights = [1 / (rank + 3) for rank in range(len(words))]
    text = " ".join(rng.choices(words, weights, k=1_000_000))
    for number in range(count):
        size = round(mean * rng.uniform(2 / 3, 4 / 3))
        features = ",".join(f"{rng.gauss(0, 1):.4f}" for _ in range(size // 70))
        head = f'{{"id":"r{number:07}","label":{rng.randrange(9)},"features":[{features}],"text":"'
        start = rng.randrange(len(text) - size)
        yield f'{head}{text[start : start + max(size - len(head) - 2, 1)]}"}}'.encode()


def pack(given: Mapping[str, Any], records: Sequence[Record]) -> Payloads:
    """Pack records as a run does."""
    return _pack(given, (records[at : at + _BATCH] for at in range(0, len(records), _BATCH)))


def pack_file(path: Path) -> Payloads:
    """Read records from a file and pack them, as a run does."""
    with path.open("rb") as file:
        reader = StreamReader(
            name=str(path),
            file=file.fileno(),
            settings=SourceSettings(path=[str(path)], key="id"),
            mark=START,
        )
        return _pack(OURS[SPLICED], _read(reader))


def _read(reader: StreamReader) -> Iterator[list[Record]]:
    while not reader.ended:
        items = reader.step()
        records = [item for item in items if isinstance(item, Record)]
        assert len(records) == len(items), "every line is a record"
        yield records


def _pack(given: Mapping[str, Any], batches: Iterator[Sequence[Record]]) -> Payloads:
    settings = PackingSettings(max_records=100_000, **given)
    packer = Packer(settings, Codec(settings, content_type=None), staging=False)
    payloads: Payloads = []
    for batch in batches:
        # As in a run, a payload is handed on and not kept.
        payloads += _payloads_of(packer.add(batch, 0.0))
    return payloads + _payloads_of(packer.flush())


def _payloads_of(packed: Sequence[Any]) -> Payloads:
    assert not any(isinstance(one, RefusedRecord) for one in packed), "every record fits"
    return [(len(one.records), len(one.payload)) for one in packed]


def obvious_file(path: Path) -> Payloads:
    """Read and parse the lines of a file, and pack them as people do."""
    with path.open("rb") as file:
        return obvious(map(json.loads, file))


def obvious(values: Iterable[object]) -> Payloads:
    """Pack as people do: measure each record with json.dumps, then dump the list."""
    payloads: Payloads = []
    batch: list[object] = []
    size = 2
    for record in values:
        estimate = len(json.dumps(record)) + 2
        if batch and size + estimate > limits.INLINE_BODY_BYTES:
            payloads.append((len(batch), len(json.dumps(batch).encode())))
            batch, size = [], 2
        batch.append(record)
        size += estimate
    return [*payloads, (len(batch), len(json.dumps(batch).encode()))]


def obvious_gzip(values: Sequence[object]) -> Payloads:
    """Compress with room to spare for the worst ratio; halve where that was not enough."""
    sample = json.dumps(values[:100]).encode()
    most = 0.8 * limits.INLINE_BODY_BYTES * len(sample) / len(gzip.compress(sample, 6))
    payloads: Payloads = []

    def send(batch: list[object]) -> None:
        payload = gzip.compress(json.dumps(batch).encode(), 6)
        if len(payload) <= limits.INLINE_BODY_BYTES:
            payloads.append((len(batch), len(payload)))
            return
        send(batch[: len(batch) // 2])
        send(batch[len(batch) // 2 :])

    batch: list[object] = []
    size = 2.0
    for record in values:
        estimate = len(json.dumps(record)) + 2
        if batch and size + estimate > most:
            send(batch)
            batch, size = [], 2
        batch.append(record)
        size += estimate
    send(batch)
    return payloads


def contenders(raws: Sequence[bytes], path: Path) -> dict[str, Callable[[], Payloads]]:
    """Return what packs all these records, by name."""
    path.write_bytes(b"\n".join(raws))
    records = [
        Record(Position("in", number, number + 1, number), f"r{number}", raw)
        for number, raw in enumerate(raws)
    ]
    values = [json.loads(raw) for raw in raws]
    ours = {name: partial(pack, given, records) for name, given in OURS.items()}
    return {
        OBVIOUS: partial(obvious, values),
        OBVIOUS_GZIP: partial(obvious_gzip, values),
        OBVIOUS_FILE: partial(obvious_file, path),
        **ours,
        FROM_FILE: partial(pack_file, path),
    }


def measure(name: str, run: Callable[[], Payloads], raws: Sequence[bytes]) -> dict[str, Any]:
    """Pack everything once; return the figures.

    Raises:
        SystemExit: A record is in no payload, or a payload is over the limit.
    """
    began = time.process_time()
    payloads = run()
    cpu = time.process_time() - began
    sizes = [size for _, size in payloads]
    if sum(count for count, _ in payloads) != len(raws) or max(sizes) > limits.INLINE_BODY_BYTES:
        raise SystemExit(f"{name} lost records, or went over the limit: {max(sizes)} bytes")
    # The last one has what is left.
    full = sizes[:-1] or sizes
    return {
        "contender": name,
        "begins_with": BEGINS[name],
        "cpu_us": cpu / len(raws) * 1e6,
        "records_per_second": len(raws) / cpu,
        "payloads": len(sizes),
        "fill": sum(full) / len(full) / limits.INLINE_BODY_BYTES,
        "least_fill": min(full) / limits.INLINE_BODY_BYTES,
    }


def grid(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return the table of one size of records."""
    headers = ["contender", "begins with", "records/s of CPU", "from values", "from lines"]
    headers += ["payloads", "fill", "least"]
    rows = []
    for name, runs in found.items():
        is_gzip = name in (GZIP, OBVIOUS_GZIP)
        rows.append(
            [
                name,
                BEGINS[name],
                str(Spread.of(run["records_per_second"] for run in runs)),
                ratio(found[OBVIOUS_GZIP if is_gzip else OBVIOUS], runs),
                ratio(None if is_gzip else found[OBVIOUS_FILE], runs),
                f"{runs[0]['payloads']:,}",
                f"{runs[0]['fill']:.1%}",
                f"{runs[0]['least_fill']:.1%}",
            ]
        )
    return table(headers, rows)


def measure_all(
    options: argparse.Namespace, folder: Path
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Run everything, contenders in turn; return the figures by size and contender."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for mean in options.bytes:
        count = max(round(options.megabytes * 1e6 / mean), 2)
        raws = list(lines(mean, count, options.seed))
        size = f"Records of {sum(map(len, raws)) / count:,.0f} B"
        runs: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for repetition in range(options.repetitions):
            for name, run in contenders(raws, folder / "records.jsonl").items():
                figures = measure(name, run, raws)
                runs[name].append({"repetition": repetition, "bytes": mean, **figures})
                print(
                    f"{size}, {name}: {figures['records_per_second']:,.0f}/s of CPU, "
                    f"{figures['fill']:.1%} full",
                    file=sys.stderr,
                )
        found[size] = runs
    return found


def report(
    found: Mapping[str, Mapping[str, list[dict[str, Any]]]], facts: Mapping[str, str], seed: int
) -> Report:
    """Return the results and their description, to be written."""
    bars = [
        Bars(
            size,
            {
                name: Spread.of(run["records_per_second"] for run in runs)
                for name, runs in by_name.items()
            },
        )
        for size, by_name in found.items()
    ]
    repetitions = max(len(runs) for by_name in found.values() for runs in by_name.values())
    more = {
        "repetitions": f"{repetitions}, contenders in turn; figures are median (least-most)",
        "records": "words by Zipf's law over 20,000, a tenth numbers at random, sizes spread by a "
        f"third around the mean; seed {seed}",
    }
    runs = [run for by_name in found.values() for runs in by_name.values() for run in runs]
    return Report(
        name="packer",
        title="Packing, records per second of one core",
        facts={**facts, **more},
        tables=[(size, grid(by_name)) for size, by_name in found.items()],
        note="`begins with` says what there is when the clock starts: parsed values; records, the "
        "lines of which the source has read and checked; or a file, of which each line has to be "
        "read and parsed, or checked. `from values` is how many times less CPU it takes than "
        f"`{OBVIOUS}` in the same repetition (gzip: than `{OBVIOUS_GZIP}`), `from lines` than "
        f"`{OBVIOUS_FILE}`. Only figures that begin alike are alike: a run from a file is the "
        "last line against `from lines`. `fill` is the mean of all payloads but the last against "
        "128,000 bytes, `least` the emptiest of them.",
        data={"runs": runs},
        draw=partial(draw_bars, groups=bars, unit="records a second of CPU", better="more"),
    )


def command_line() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, repetitions=3)
    parser.add_argument("--bytes", type=int, nargs="+", default=[100, 577, 5_000])
    parser.add_argument("--megabytes", type=float, default=20.0, help="of records of each size")
    parser.add_argument("--seed", type=int, default=1)
    return parse(parser)


def main() -> None:
    options = command_line()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    facts = surroundings()
    with tempfile.TemporaryDirectory(prefix="bench-") as made:
        found = measure_all(options, Path(made))
    made_of = report(found, facts, options.seed)
    print(made_of.text())
    made_of.write(options.out, with_plot=options.plot)


if __name__ == "__main__":
    main()
