"""The view of a run for people and monitors."""
