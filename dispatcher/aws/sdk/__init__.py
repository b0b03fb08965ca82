"""The hot calls through aioboto3's clients."""
