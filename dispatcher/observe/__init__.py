"""Observation of a run: events, counters, progress, metrics and the summary."""
