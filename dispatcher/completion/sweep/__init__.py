"""The sweep: finding completions in S3 whose events are overdue."""
