"""The way a service says no, before it is put into the service's own shape."""


class Refusal(Exception):
    """An error answer.

    Attributes:
        status: HTTP status.
        code: The error code that SDKs map to an exception.
        message: A sentence for people; None where the real service sends null.
    """

    def __init__(self, status: int, code: str, message: str | None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
