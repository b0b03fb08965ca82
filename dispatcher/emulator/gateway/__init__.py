"""The way of an HTTP request to its service, and the contract of a service."""
