"""An HTTP/1.1 client for calls to few hosts, many a second."""
