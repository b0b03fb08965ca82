"""From an event, or a look into S3, to outcomes."""
