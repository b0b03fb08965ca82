"""The command that makes sample input: ``python -m dispatcher.samples.records``.

Letters, the default kind, read like letters of customers to a text model. Their sizes are
log-uniform, so most records are small and, with the defaults, about one in six is too large for an
inline request. ``dispatcher.samples.datasets`` makes the other kinds.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import click
from click.core import ParameterSource

from dispatcher.samples.datasets import DATASETS

_OPENINGS = (
    "Last week I ordered {thing}, and {event}.",
    "Our team in {place} has used {thing} for two years; {event}.",
    'The courier in {place} said: \\"{event}\\".',
    "I am writing about {thing}. Since Monday, {event}.",
    "Could you check my account? In {place} {event}.",
    "Thank you for {thing}: {event}!",
)
_THINGS = (
    "the blue kettle",
    "your streaming plan",
    "a pair of hiking boots",
    "the café subscription",
    "the new espresso machine",
    "an annual rail card",
    "the naïve Bayes course",
    "two winter coats",
)
_EVENTS = (
    "the parcel arrived a day early",
    "the invoice shows the wrong amount",
    "nobody answers the telephone",
    "everything works as promised",
    "the lid does not close any more",
    "the refund of 42.50 € is still missing",
    "the app asks for my password on every page",
    "I would gladly recommend it to friends",
)
_PLACES = ("Zürich", "Lyon", "São Paulo", "Kraków", "Leeds", "Oslo", "Austin", "Kyoto")


def sizes(count: int, smallest: int, largest: int, rng: random.Random) -> list[int]:
    """Return log-uniform sizes in bytes; the smallest and the largest come first."""
    ratio = largest / smallest
    drawn = [round(smallest * ratio ** rng.random()) for _ in range(count)]
    drawn[:2] = [smallest, largest][:count]
    return drawn


def lines(count: int, smallest: int, largest: int, seed: int) -> Iterator[bytes]:
    """Yield JSON lines of the same records for the same arguments.

    Args:
        count: The number of lines.
        smallest: Bytes of the smallest line without its newline; at least 64.
        largest: Bytes of the largest.
        seed: Other seeds give other texts and sizes.
    """
    rng = random.Random(seed)  # noqa: S311 - repeatable on purpose
    letters = _letters(rng, largest)
    width = max(6, len(str(count)))
    for number, size in enumerate(sizes(count, smallest, largest, rng), 1):
        head = b'{"id": "r%0*d", "text": "' % (width, number)
        tail = b'"}'
        start = letters.index(b" ", rng.randrange(len(letters) - largest - 1_000)) + 1
        yield head + _cut(letters, start, size - len(head) - len(tail)) + tail


def _letters(rng: random.Random, largest: int) -> bytes:
    """Return letters, one after the other, as the inside of a JSON string in UTF-8."""
    wanted = 2 * largest + 10_000
    sentences = [
        rng.choice(_OPENINGS).format(
            thing=rng.choice(_THINGS),
            event=rng.choice(_EVENTS),
            place=rng.choice(_PLACES),
        )
        for _ in range(2_000)
    ]
    parts: list[str] = []
    length = 0
    while length < wanted:
        part = rng.choice(sentences) + rng.choice((" ", " ", " ", "\\n"))
        parts.append(part)
        length += len(part)
    return "".join(parts).encode()


def _cut(letters: bytes, start: int, size: int) -> bytes:
    """Return exactly ``size`` bytes that are whole characters and whole escapes."""
    piece = letters[start : start + size].decode(errors="ignore").rstrip("\\").encode()
    return piece + b"." * (size - len(piece))


@click.command()
@click.option(
    "--kind",
    type=click.Choice(["letters", *DATASETS]),
    default="letters",
    show_default=True,
    help="Kind of the records.",
)
@click.option("--count", default=2_000, show_default=True, type=click.IntRange(0))
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--seed", default=1, show_default=True)
@click.option(
    "--min-bytes", default=100, show_default=True, type=click.IntRange(64), help="Of letters."
)
@click.option(
    "--max-bytes", default=600_000, show_default=True, type=click.IntRange(64), help="Of letters."
)
@click.pass_context
def main(
    ctx: click.Context,
    *,
    kind: str,
    count: int,
    out: Path,
    seed: int,
    min_bytes: int,
    max_bytes: int,
) -> None:
    """Write COUNT seeded JSON records to a file, one a line."""
    if min_bytes > max_bytes:
        raise click.UsageError("--min-bytes must not be above --max-bytes")
    if kind == "letters":
        made = lines(count, min_bytes, max_bytes, seed)
    else:
        for name in ("min_bytes", "max_bytes"):
            if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT:
                option = name.replace("_", "-")
                raise click.UsageError(f"--{option} is for letters; {kind} has sizes of its own")
        made = DATASETS[kind](count, seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    # Readers never see half a file, even when this is stopped midway.
    unfinished = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            for line in made:
                file.write(line + b"\n")
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)
    click.echo(f"{out}: {count:,} records, {out.stat().st_size / 1e6:,.1f} MB", err=True)


if __name__ == "__main__":
    main()
