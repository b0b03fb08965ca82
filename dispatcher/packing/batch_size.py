"""How many records to a parcel where some of them make the whole parcel fail."""

import math

HALF_LIFE_RECORDS = 20_000
"""After so many records what was seen before them counts half."""

_FEW_RECORDS = 2_000
"""Good records that are taken as seen before the first: one bad record early on tells little."""

_PARTS_PER_BAD = 3 / math.log(3)
"""Extra invocations that one bad record costs, for each e-fold of records in its parcel.

A parcel of n records that fails is sent again in three parts, and so on, until the bad record is
alone: 3 log3(n) more invocations.
"""


class BatchSize:
    """Remembers the share of bad records, and limits the next parcels by it; pure.

    With a share p, a parcel of n records costs 1/n + p * 3 log3(n) invocations a record. That is
    least at n = ln 3 / (3 p), some 0.37 / p: one bad record in every third parcel.

    Args:
        bad: Records found bad earlier in this run.
        records: All records settled earlier in this run, the bad ones included.
    """

    def __init__(self, bad: int = 0, records: int = 0) -> None:
        self._bad = 0.0
        self._records = 0.0
        self.observe(records, bad)

    def observe(self, records: int, bad: int) -> None:
        """Take note of settled records.

        Args:
            records: How many, the bad ones included; 0 is no news.
            bad: How many of them made their parcel fail.
        """
        if records <= 0:
            return
        # What many records tell at once weighs no more than if they had been told one by one.
        old = 0.5 ** (records / HALF_LIFE_RECORDS)
        weight = (1 - old) * HALF_LIFE_RECORDS / math.log(2)
        self._records = self._records * old + weight
        self._bad = self._bad * old + weight * min(bad / records, 1.0)

    def most(self, max_records: int) -> int:
        """Return how many records the next parcel may hold, from 1 to ``max_records``."""
        if self._bad == 0:
            return max_records
        share = self._bad / (self._records + _FEW_RECORDS)
        return max(1, min(max_records, round(1 / (_PARTS_PER_BAD * share))))
