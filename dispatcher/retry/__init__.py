"""Retrying: what follows a failed call or invocation, backoff, outages, rates."""
