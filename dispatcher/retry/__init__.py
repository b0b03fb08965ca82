"""Retrying, as pure decisions: failed calls, failed invocations, outages, rates."""
