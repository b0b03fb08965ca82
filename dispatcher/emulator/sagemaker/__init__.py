"""SageMaker: the endpoint, its queue, its outputs and events."""
