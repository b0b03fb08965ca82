"""Load generation."""
