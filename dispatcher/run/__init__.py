"""A run: its rooms wired together, started, settled and shut down."""
