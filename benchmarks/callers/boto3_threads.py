"""boto3 with a pool of threads."""

from collections.abc import Iterator
from contextlib import contextmanager

import boto3
import botocore.session
from botocore.config import Config

from benchmarks.callers.call import ENDPOINT, Call, Invoke
from benchmarks.sdk import teach

THREADS = 16


@contextmanager
def open_client(payload: bytes) -> Iterator[Invoke]:
    """Open a client that all threads share, as boto3 says they may."""
    session = boto3.Session(botocore_session=teach(botocore.session.get_session()))
    config = Config(retries={"total_max_attempts": 1}, max_pool_connections=THREADS)
    client = session.client("sagemaker-runtime", config=config)

    def invoke(call: Call) -> str | None:
        answer = client.invoke_endpoint_async(
            EndpointName=ENDPOINT,
            InferenceId=call.inference_id,
            ContentType="application/json",
            S3OutputPathExtension=call.extension,
            Filename=call.filename,
            Body=payload,
        )
        location: str | None = answer.get("OutputLocation")
        return location

    yield invoke
    client.close()
