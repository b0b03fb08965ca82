"""Completions, from queue events or probes of S3, and the outcomes of their records."""
