"""Amazon SQS: queues, messages and long polls."""
