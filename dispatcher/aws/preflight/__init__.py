"""Checks of an AWS account before a run, without sending a record."""
