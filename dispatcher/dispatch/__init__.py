"""From a durable intent to an accepted call."""
