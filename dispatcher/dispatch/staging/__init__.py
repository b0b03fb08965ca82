"""Payloads too large for the request: uploaded to S3, shared, cleaned up."""
