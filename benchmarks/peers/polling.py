"""One call a record as ``AsyncPredictor.predict`` of the SageMaker SDK makes it.

Upload the input, invoke, wait with S3's waiter until the output is there, read it; a thread a
record under way. In two things it is kinder than the SDK: the waiter looks again after a quarter of
a second instead of 15 seconds, and there is no second waiter for the failure object.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
from botocore.config import Config

from benchmarks.peers.task import (
    STAGING,
    Task,
    bucket_and_key,
    key_of,
    names,
    new_id,
    result_line,
)

_THREADS = 32
"""Most of them sleep in a waiter."""

_WAITER = {"Delay": 0.25, "MaxAttempts": 240}


def predict(runtime: Any, s3: Any, line: bytes) -> bytes:
    """Return the output of one record."""
    inference_id = new_id()
    source = f"staged/{inference_id}.json"
    s3.put_object(Bucket=STAGING, Key=source, Body=line, ContentType="application/json")
    answer = runtime.invoke_endpoint_async(
        **names(inference_id), InputLocation=f"s3://{STAGING}/{source}"
    )
    bucket, key = bucket_and_key(answer["OutputLocation"])
    s3.get_waiter("object_exists").wait(Bucket=bucket, Key=key, WaiterConfig=_WAITER)
    output: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    return output


def main() -> None:
    task = Task.from_command_line(__doc__)
    config = Config(max_pool_connections=_THREADS)
    runtime, s3 = (boto3.client(name, config=config) for name in ("sagemaker-runtime", "s3"))
    lock = threading.Lock()
    with task.out.open("wb") as out, ThreadPoolExecutor(_THREADS) as pool:

        def one(line: bytes) -> None:
            result = result_line(key_of(line), predict(runtime, s3, line))
            with lock:
                out.write(result)
                out.flush()

        for _ in pool.map(one, task.lines()):
            pass


if __name__ == "__main__":
    main()
