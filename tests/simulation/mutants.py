"""Deliberate breaks of the product, each against a law: the checker must catch all of them."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

from tests.simulation.simulate import Report, simulate

MUTANTS: dict[str, Callable[[], AbstractContextManager[object]]] = {}


def hunt(name: str, seeds: Iterable[int]) -> Report | None:
    """Return the first report of a broken law while the product is broken; None: not caught."""
    with MUTANTS[name]():
        return next((report for seed in seeds if (report := simulate(seed)).violations), None)
