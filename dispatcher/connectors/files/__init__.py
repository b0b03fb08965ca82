"""Files as a source: each file is a record."""
