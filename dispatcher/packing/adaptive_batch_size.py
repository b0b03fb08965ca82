"""Adaptive batch size: smaller parcels where single records make whole parcels fail."""

import math

HALF_LIFE_RECORDS = 20_000
"""Records after which everything seen before them counts half."""

_FEW_RECORDS = 2_000
"""Good records assumed before the first: one bad record early on proves little."""

_PARTS_PER_BAD = 3 / math.log(3)
"""Extra invocations that one bad record costs, for each e-fold of records in its parcel.

A parcel of n records that fails is split in three, and so on down to the bad record: 3 log3(n) more
invocations.
"""


class BatchSize:
    """Limit on the records of the next parcel, by the share of bad records so far; pure.

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
        """Count settled records.

        Args:
            records: Their number, the bad ones included; 0 changes nothing.
            bad: Those of them that made their parcel fail.
        """
        if records <= 0:
            return
        # Many records at once weigh the same as if they had been counted one by one.
        old = 0.5 ** (records / HALF_LIFE_RECORDS)
        weight = (1 - old) * HALF_LIFE_RECORDS / math.log(2)
        self._records = self._records * old + weight
        self._bad = self._bad * old + weight * min(bad / records, 1.0)

    def limit(self, max_records: int) -> int:
        """Return the most records for the next parcel, from 1 to ``max_records``."""
        if self._bad == 0:
            return max_records
        share = self._bad / (self._records + _FEW_RECORDS)
        return max(1, min(max_records, round(1 / (_PARTS_PER_BAD * share))))
