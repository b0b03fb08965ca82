"""aioboto3, with the settings of the dispatcher's own session."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aioboto3
import aiobotocore.session
from aiobotocore.config import AioConfig

from benchmarks.callers.call import ENDPOINT, Call, InvokeLater
from benchmarks.sdk import teach


@asynccontextmanager
async def open_client(payload: bytes, concurrency: int) -> AsyncIterator[InvokeLater]:
    """Open a client."""
    session = aioboto3.Session(botocore_session=teach(aiobotocore.session.get_session()))
    config = AioConfig(
        retries={"total_max_attempts": 1}, max_pool_connections=concurrency, tcp_keepalive=True
    )
    async with session.client("sagemaker-runtime", config=config) as client:

        async def invoke(call: Call) -> str | None:
            answer = await client.invoke_endpoint_async(
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
