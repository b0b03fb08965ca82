"""The fault plan, and the corruption of events and outputs."""
