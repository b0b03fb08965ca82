"""Levels of an open ledger, for tests, logs and debugging."""

from dataclasses import dataclass

from dispatcher.ledger.group_commit import GroupCommit
from dispatcher.ledger.payloads.payloads import Payloads
from dispatcher.ledger.payloads.spool import Spool
from dispatcher.ledger.table import InvocationTable


@dataclass(slots=True, frozen=True, kw_only=True)
class LedgerStatistics:
    """Levels of a ledger at one moment.

    Attributes:
        outstanding: Invocations without an outcome: planned or accepted.
        max_outstanding: The limit of ``outstanding``, ``limits.outstanding``.
        outstanding_records: Records of the outstanding invocations.
        planned: Outstanding invocations that are not known to be accepted.
        accepted: Outstanding invocations that the service accepted.
        claimed: Outstanding invocations that are being settled.
        left_to_next_process: Outstanding invocations that this process does not wait for.
        without_payload: Outstanding invocations whose payload a power loss took.
        waiting_operations: Operations that wait for the next commit.
        spool_bytes: Bytes of the spool on disk.
        max_spool_bytes: Bytes of the spool from which on nothing is planned, ``ledger.spool_max``.
        fresh_payload_bytes: Bytes of payloads in memory that nothing has asked for yet.
    """

    outstanding: int
    max_outstanding: int
    outstanding_records: int
    planned: int
    accepted: int
    claimed: int
    left_to_next_process: int
    without_payload: int
    waiting_operations: int
    spool_bytes: int
    max_spool_bytes: int
    fresh_payload_bytes: int


def collect(
    table: InvocationTable,
    group_commit: GroupCommit,
    payloads: Payloads,
    spool: Spool,
    *,
    max_outstanding: int,
    max_spool_bytes: int,
) -> LedgerStatistics:
    """Return the levels of the parts of a ledger."""
    outstanding, planned = len(table.entries), len(table.planned())
    return LedgerStatistics(
        outstanding=outstanding,
        max_outstanding=max_outstanding,
        outstanding_records=table.records,
        planned=planned,
        accepted=outstanding - planned,
        claimed=len(table.claimed()),
        left_to_next_process=table.left_to_next_process,
        without_payload=outstanding - table.with_payload,
        waiting_operations=group_commit.waiting,
        spool_bytes=spool.size,
        max_spool_bytes=max_spool_bytes,
        fresh_payload_bytes=payloads.fresh_bytes,
    )
