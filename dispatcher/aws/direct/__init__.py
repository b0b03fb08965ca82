"""The hot calls over our own HTTP client, signed by ourselves."""
