"""JSON lines in files and pipes, as source and sink."""
