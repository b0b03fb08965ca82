"""Amazon S3: objects, listings, multipart uploads."""
