"""Records: their positions, their contract with sources, and how JSON becomes records."""
