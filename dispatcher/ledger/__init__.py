"""What must survive us: intents, settlements, marks, and payloads until they are settled."""
