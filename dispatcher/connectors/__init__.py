"""Kinds of places that records come from and outcomes go to; one folder a kind."""
