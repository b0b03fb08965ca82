"""The dry run: requests, sizes and cost of an input, found without sending any."""
