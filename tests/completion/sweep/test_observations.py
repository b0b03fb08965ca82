"""Probes show an output, a failure, or nothing of an invocation."""

from itertools import product

from dispatcher.completion.sweep.observations import FolderListing, Observations
from dispatcher.ledger.invocation import Entry, Planned

OUTPUT, FAILURE = "s3://out/results/id.out", "s3://out/failures/id-error.out"


def entry(output: str | None = OUTPUT, failure: str | None = FAILURE) -> Entry:
    planned = Planned(1, "id", "shard", "application/json", "inline", 5)
    return Entry(planned, [], None, 0, 0.0, output=output, failure=failure)


def test_a_page_shows_which_objects_are_there() -> None:
    page = FolderListing({"a/1", "a/2"}, "a/")
    assert [page.shows(name) for name in ("1", "2", "3")] == [True, True, False]


def test_a_full_page_says_nothing_of_what_comes_after_it() -> None:
    page = FolderListing({f"a/{n:04}" for n in range(0, 2000, 2)}, "a/")
    assert [page.shows(name) for name in ("0002", "0003", "1998", "1999")] == [
        True,
        False,
        True,
        None,
    ]


def test_an_output_wins_and_only_what_was_seen_counts() -> None:
    for output, failure in product((True, False, None), repeat=2):
        sight = Observations()
        for at, there in ((OUTPUT, output), (FAILURE, failure)):
            if there is not None:
                sight.objects[at] = there
        completion = sight.completion(entry())
        wanted = "completed" if output else "failed" if failure and output is False else None
        assert (completion and completion.kind) == wanted
        assert sight.has_no_trace(entry()) == (output is False and failure is False)


def test_what_has_no_location_or_cannot_be_seen_leaves_no_trace() -> None:
    assert Observations().has_no_trace(entry(None, None))
    assert not Observations().has_no_trace(entry(None))
    assert Observations(unseen={OUTPUT, FAILURE}).has_no_trace(entry())
    assert Observations(unseen={OUTPUT}, objects={FAILURE: True}).completion(entry()) is not None


def test_a_probe_that_failed_is_not_one_that_saw_nothing() -> None:
    sight = Observations(objects={OUTPUT: False}, failed={FAILURE})
    assert sight.has_failed(entry())
    assert not sight.has_no_trace(entry())
    assert not sight.has_failed(entry(failure=None))
