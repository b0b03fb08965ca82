"""One call of a service, by its names."""

from dataclasses import KW_ONLY, dataclass


@dataclass(slots=True, frozen=True)
class Call:
    """One call of a service.

    Attributes:
        service: ``sagemaker``, ``s3``, ``sqs`` or ``sns``.
        operation: ``InvokeEndpointAsync``, ``PutObject``, ``ReceiveMessage``...; empty where it
            has no name.
        resource: The endpoint, ``bucket/key``, or the queue's name; empty where there is none.
        id: The InferenceId, or the Id of one entry of a batch; else empty.
    """

    service: str
    operation: str
    resource: str = ""
    _: KW_ONLY
    id: str = ""
