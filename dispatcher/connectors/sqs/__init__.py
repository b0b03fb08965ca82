"""Amazon SQS queues as source and sink."""
