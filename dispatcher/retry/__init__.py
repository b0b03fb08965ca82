"""Retrying: decisions about failed calls and invocations, backoff, token buckets, outage timers."""
