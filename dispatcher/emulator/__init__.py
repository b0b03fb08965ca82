"""SageMaker asynchronous inference in a box."""
