"""Durable state of a run: intents, settlements, marks, and payloads until they are settled."""
