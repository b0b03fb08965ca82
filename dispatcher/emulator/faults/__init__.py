"""The fault plan and what faults do to events and outputs."""
