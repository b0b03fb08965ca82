"""All errors that the dispatcher raises, by remedy.

::

    DispatcherError
    ├── ConfigError           the user corrects the configuration or command line; nothing was sent
    ├── RunStopped            only a person can correct it; the run stops with its state kept
    │   ├── StateError        ledger, results or dead-letter file cannot be trusted or written
    │   └── Denied            credentials, permissions, or an endpoint, queue or bucket is missing
    └── CallError             one AWS call went wrong
        ├── Throttled         wait, then repeat the call
        ├── Transient         nothing happened: repeat the call
        │   └── ServiceFailed  the service itself failed; this very request may be the cause
        ├── OutcomeUnknown    sent, but no response: look first, then repeat
        ├── Rejected          this very request is wrong: never repeat it
        └── NotThere          the requested object does not exist

Foreign errors are mapped to these in ``dispatcher.aws`` and nowhere else.
"""


class DispatcherError(Exception):
    """Base of all errors raised on purpose; ``str()`` is a sentence for the user."""


class ConfigError(DispatcherError):
    """The configuration or the command line is wrong; the message says what to change."""


class RunStopped(DispatcherError):
    """The run cannot go on without a person; everything so far is kept in the ledger."""


class StateError(RunStopped):
    """A file of the run's state is missing, damaged, locked, full or from another run."""


class Denied(RunStopped):
    """AWS refuses every such call: credentials, permissions or a resource that does not exist.

    Attributes:
        code: The service's error code where the service refused, else "".
    """

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class CallError(DispatcherError):
    """One AWS call did not succeed.

    Attributes:
        code: The service's error code, or the kind of connection error.
    """

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class Throttled(CallError):
    """The service limits the rate of calls; the request was not accepted."""


class Transient(CallError):
    """The request was not accepted (5xx, no connection); the same request may succeed later."""


class ServiceFailed(Transient):
    """The service responded 5xx: an outage, or something about this very request."""


class OutcomeUnknown(CallError):
    """The request left this machine and no response came: it may have been accepted."""


class Rejected(CallError):
    """The service will never accept this request."""


class NotThere(CallError):
    """The object does not exist, or is hidden (403 without ``s3:ListBucket``)."""
