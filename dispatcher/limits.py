"""Limits of the services, each with its unit and source.

``B`` is the botocore service model of sagemaker-runtime 2017-05-13, checked against the installed
model by ``tests/wire``. ``D`` is the AWS documentation.
"""

INLINE_BODY_BYTES = 128_000
"""Largest inline ``Body`` of InvokeEndpointAsync, in bytes after encoding (B: AsyncBodyBlob)."""

STAGED_BODY_BYTES = 1_000_000_000
"""Largest input object of an asynchronous invocation, in bytes (D: 1 GB)."""

ENDPOINT_NAME_CHARS = 63
ENDPOINT_NAME_PATTERN = r"^[a-zA-Z0-9](-*[a-zA-Z0-9])*$"
"""EndpointName (B)."""

HEADER_CHARS = 1024
"""ContentType, Accept and CustomAttributes, in ASCII characters (B: Header)."""

INPUT_LOCATION_CHARS = 1024
INPUT_LOCATION_PATTERN = r"^(https|s3)://([^/]+)/?(.*)$"
"""InputLocation (B: InputLocationHeader)."""

INFERENCE_ID_CHARS = 64
"""InferenceId, printable, no leading blank (B)."""

OUTPUT_EXTENSION_CHARS = 512
OUTPUT_EXTENSION_PATTERN = r"^(?!s3:|https:)[a-zA-Z0-9!_.*'()/-]+$"
"""S3OutputPathExtension (B)."""

FILENAME_CHARS = 32
"""Filename of the output object: at most one dot, ``[a-zA-Z0-9][a-zA-Z0-9-_.]*`` (B)."""

REQUEST_TTL_SECONDS = (60, 21_600)
REQUEST_TTL_DEFAULT_SECONDS = 21_600
"""RequestTTLSeconds: how long a request may wait in the endpoint's queue (B, D)."""

INVOCATION_TIMEOUT_SECONDS = (1, 3_600)
INVOCATION_TIMEOUT_DEFAULT_SECONDS = 900
"""InvocationTimeoutSeconds: how long the container may take (B, D)."""

SQS_IN_FLIGHT_MESSAGES = 120_000
"""Messages of a queue received and not deleted before receives silently return nothing (D)."""

SQS_BATCH_ENTRIES = 10
"""Messages of one receive, and entries of one batch call (D)."""

SQS_VISIBILITY_SECONDS = 43_200
"""Longest total time that a received message can be hidden (D: 12 h)."""

SQS_LONG_POLL_SECONDS = 20
"""Longest WaitTimeSeconds (D)."""

S3_LIST_PAGE_KEYS = 1_000
"""Keys in one page of ListObjectsV2 (D)."""

SQS_BATCH_BYTES = 1_048_576
"""Largest total of the messages of one receive or one batch, in bytes (D)."""
