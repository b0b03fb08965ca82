"""The ledger on disk: an SQLite file, its schema, its lock."""
