"""Sample input to try things with."""
