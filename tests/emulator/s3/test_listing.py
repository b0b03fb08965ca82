"""Keys in order, and pages of a listing."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.emulator.s3.listing import ListingPage, SortedKeys, list_page

KEYS = st.lists(st.text("ab/c", min_size=1, max_size=6), unique=True, max_size=30)


def sorted_keys(keys: list[str]) -> SortedKeys:
    made = SortedKeys()
    for key in keys:
        made.add(key)
    return made


@settings(deadline=None)
@given(KEYS, st.data())
def test_sorted_keys_stay_sorted(keys: list[str], data: st.DataObject) -> None:
    gone = data.draw(st.sets(st.sampled_from(keys)) if keys else st.just(set()))
    made = sorted_keys(keys)
    for key in gone:
        made.remove(key)
    left = sorted(set(keys) - gone)
    assert list(made.after("", inclusive=True)) == left
    at = data.draw(st.text("ab/c", max_size=6))
    assert list(made.after(at)) == [key for key in left if key > at]
    assert list(made.after(at, inclusive=True)) == [key for key in left if key >= at]


def test_sorted_keys_split_and_vanish_by_block() -> None:
    keys = [f"{n:06d}" for n in range(10_000)]
    Random(1).shuffle(keys)
    made = sorted_keys(keys)
    assert len(made._blocks) > 3
    assert list(made.after("", inclusive=True)) == sorted(keys)
    for key in keys:
        made.remove(key)
    assert list(made.after("", inclusive=True)) == []


@settings(deadline=None)
@given(
    KEYS,
    st.text("ab/", max_size=2),
    st.sampled_from(["", "/", "b"]),
    st.integers(1, 5),
    st.text("ab/", max_size=3),
)
def test_pages_together_are_the_listing(
    keys: list[str], prefix: str, delimiter: str, limit: int, after: str
) -> None:
    made = sorted_keys(keys)
    whole = list_page(made, prefix=prefix, delimiter=delimiter, after=after, limit=10_000)
    assert whole.resume is None
    pages: list[ListingPage] = []
    resume: str | None = after
    while resume is not None:
        page = list_page(made, prefix=prefix, delimiter=delimiter, after=resume, limit=limit)
        assert len(page.keys) + len(page.prefixes) <= limit
        pages.append(page)
        resume = page.resume
    assert [key for page in pages for key in page.keys] == whole.keys
    assert [p for page in pages for p in page.prefixes] == whole.prefixes


@settings(deadline=None)
@given(KEYS, st.text("ab/", max_size=2), st.sampled_from(["", "/"]))
def test_listing_holds_every_key_once_or_rolled_up(
    keys: list[str], prefix: str, delimiter: str
) -> None:
    page = list_page(sorted_keys(keys), prefix=prefix, delimiter=delimiter, after="", limit=1000)
    plain, rolled = [], set()
    for key in sorted(keys):
        if key.startswith(prefix):
            head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            if found:
                rolled.add(prefix + head + delimiter)
            else:
                plain.append(key)
    assert page.keys == plain
    assert page.prefixes == sorted(rolled)
