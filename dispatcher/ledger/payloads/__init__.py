"""Payloads of outstanding invocations: the spool beside the ledger."""
