"""Three kinds of realistic input, the same for the same seed.

Size and compressibility decide how input is packed: short texts repeat words but not sentences,
embeddings have the digits of 32-bit floats, and images do not compress.
"""

import base64
import math
import random
import re
import struct
from collections.abc import Callable, Iterator
from itertools import accumulate

import orjson

EMBEDDING_FLOATS = 768

_TEXT_BYTES = (80, 600)
_IMAGE_BYTES = (20_000, 2_000_000)
_SPREAD = 3.0
"""Median and range are this many standard deviations of the logarithm apart, less where skewed."""

_NOUNS = """
parcel invoice kettle blender charger subscription account password refund courier keyboard jacket
delivery order app screen battery manual support website voucher receipt zip sole lid handle cable
router headset mattress pillow lamp drill printer cartridge filter adapter strap case box label
address warehouse payment card bank price discount size colour fabric smell noise motor hinge button
remote speaker camera lens tripod tent stove backpack helmet saddle tyre pump chain brake pedal seat
sofa shelf drawer mirror carpet curtain tap sink shower towel blanket candle vase frame clock watch
ring necklace earring shirt dress skirt trousers shoes boots gloves scarf hat belt wallet suitcase
ticket booking flight hotel room breakfast train platform reservation insurance claim contract meter
update version setting backup folder file photo message call line agent ticket reply week month
"""
_VERBS = """
arrived broke stopped failed worked leaked cracked vanished froze crashed melted shrank faded ripped
squeaked overheated restarted expired bounced doubled slipped jammed rattled bent split burned
flickered dropped disconnected rusted peeled stuck tore came went returned cancelled changed
"""
_ADJECTIVES = """
new blue broken late wrong second small large heavy light black white grey red green wooden cheap
expensive sturdy flimsy soft hard quiet loud bright dark empty full damaged missing original spare
replacement faulty wireless portable electric manual digital annual monthly free final first last
friendly rude helpful useless perfect terrible decent average lovely awful reliable slow quick warm
"""
_PEOPLE = "I we my-wife my-son our-team the-neighbour customer-service the-driver nobody"
_ENDINGS = """
please-advise thank-you would-buy-again never-again five-stars one-star still-waiting very-happy
not-amused highly-recommended please-call-me-back any-news? as-described what-now? all-good
"""
_WORDS = {
    "noun": _NOUNS,
    "verb": _VERBS,
    "adjective": _ADJECTIVES,
    "person": _PEOPLE,
    "ending": _ENDINGS,
    "time": "days weeks hours months washes trips uses",
}
_PLACE = re.compile("<([a-z]+)>")
_SENTENCES = (
    "the <adjective> <noun> <verb> after <count> <time>",
    "<person> ordered the <adjective> <noun> and the <noun> <verb>",
    "order <order> <verb>, the <noun> is <adjective>",
    "the <noun> <verb> and now the <noun> is <adjective>",
    "<person> asked for <adjective> <noun>, <count> <time> ago",
    "<adjective> <noun>, <adjective> <noun>, but the <noun> <verb>",
    "why was <price> EUR taken for a <noun>",
    "<person> said the <noun> would be <adjective>",
    "the <noun> does not fit the <noun>",
    "since the <adjective> <noun>, <noun> <verb>",
    "<ending>",
)


def short_texts(count: int, seed: int) -> Iterator[bytes]:
    """Yield reviews and tickets, as JSON lines of about 80 to 600 bytes, half of them below 190."""
    rng = random.Random(seed)  # noqa: S311 - repeatable on purpose
    prose = _Prose(rng)
    for number in range(1, count + 1):
        record: dict[str, object] = {
            "id": f"t{number:07}",
            "customer": f"{rng.getrandbits(40):010x}",
            "stars": rng.randint(1, 5),
            "text": "",
        }
        room = _log_normal(rng, *_TEXT_BYTES, median=190) - len(orjson.dumps(record))
        text = prose.sentence()
        while len(text) < room:
            text = f"{text} {prose.sentence()}"
        record["text"] = text[: max(room, 1)].rstrip()
        yield orjson.dumps(record)


class _Prose:
    """Generator of sentences in which a few words are frequent, and most are rare."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._words = {
            kind: [word.replace("-", " ") for word in words.split()]
            for kind, words in _WORDS.items()
        }
        # The n-th word is drawn with a frequency of about 1/n.
        self._weights = {
            kind: list(accumulate(1 / (n + 3) for n in range(len(words))))
            for kind, words in self._words.items()
        }

    def sentence(self) -> str:
        rng = self._rng
        # Each place is drawn by itself: a sentence may name two things.
        text = _PLACE.sub(lambda place: self._draw(place[1]), rng.choice(_SENTENCES))
        return f"{text[:1].upper()}{text[1:]}{rng.choice('....!?')}"

    def _draw(self, kind: str) -> str:
        rng = self._rng
        match kind:
            case "count":
                return str(rng.randint(2, 30))
            case "order":
                return str(rng.randrange(10**7, 10**8))
            case "price":
                return f"{rng.uniform(1, 400):.2f}"
            case _:
                return rng.choices(self._words[kind], cum_weights=self._weights[kind])[0]


def embeddings(count: int, seed: int) -> Iterator[bytes]:
    """Yield unit vectors of 768 floats, as JSON lines of about 16 kB.

    The floats are 32-bit ones as Python writes them, like a model's output after ``tolist`` of an
    array and ``json.dumps``.
    """
    rng = random.Random(seed)  # noqa: S311 - repeatable on purpose
    layout = f"{EMBEDDING_FLOATS}f"
    for number in range(1, count + 1):
        vector = [rng.gauss(0, 1) for _ in range(EMBEDDING_FLOATS)]
        length = math.sqrt(sum(x * x for x in vector))
        floats = struct.unpack(layout, struct.pack(layout, *(x / length for x in vector)))
        yield orjson.dumps({"id": f"e{number:06}", "embedding": floats})


_JPEG_HEAD = bytes.fromhex("ffd8ffe000104a46494600010101004800480000ffdb004300")
_JPEG_TAIL = bytes.fromhex("ffd9")


def images(count: int, seed: int) -> Iterator[bytes]:
    """Yield images in base64, as JSON lines; the images have 20 kB to 2 MB, half below 90 kB.

    They begin and end like JPEG, and the rest is noise, which does not compress.
    """
    rng = random.Random(seed)  # noqa: S311 - repeatable on purpose
    for number in range(1, count + 1):
        size = _log_normal(rng, *_IMAGE_BYTES, median=90_000)
        noise = rng.randbytes(size - len(_JPEG_HEAD) - len(_JPEG_TAIL))
        image = base64.b64encode(_JPEG_HEAD + noise + _JPEG_TAIL).decode()
        yield orjson.dumps({"id": f"i{number:06}", "image": image})


def _log_normal(rng: random.Random, smallest: int, largest: int, *, median: int) -> int:
    """Draw a size between two bounds, log-normal around a median."""
    deviation = math.log(largest / median) / _SPREAD
    while True:
        size = round(median * math.exp(rng.gauss(0, deviation)))
        if smallest <= size <= largest:
            return size


DATASETS: dict[str, Callable[[int, int], Iterator[bytes]]] = {
    "short-text": short_texts,
    "embeddings": embeddings,
    "images": images,
}
"""The kinds of input by name; each is called with the number of records, and a seed."""
