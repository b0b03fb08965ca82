"""Files that are a record each, as source."""
