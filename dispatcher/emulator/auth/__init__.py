"""Callers and their signatures."""
