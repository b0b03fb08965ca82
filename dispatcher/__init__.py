"""High-throughput batch dispatcher for Amazon SageMaker Asynchronous Inference."""
