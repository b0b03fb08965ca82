"""The dispatcher's direct transport, by the same door that its senders use."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.callers.call import ENDPOINT, Call, InvokeLater
from dispatcher.aws.requests import InvokeRequest
from dispatcher.aws.session import Access
from dispatcher.aws.transport import open_transport
from dispatcher.config.settings import AwsSettings


@asynccontextmanager
async def open_client(payload: bytes, concurrency: int) -> AsyncIterator[InvokeLater]:
    """Open the transport."""
    access = Access(
        endpoint_url=os.environ["AWS_ENDPOINT_URL"],
        region=os.environ["AWS_REGION"],
        access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
        secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
    )
    settings = AwsSettings(transport="direct")
    async with open_transport(settings, connections=concurrency, access=access) as transport:
        assert transport.name == "direct", "something in the environment forbids it"

        async def invoke(call: Call) -> str | None:
            accepted = await transport.runtime.invoke(
                InvokeRequest(
                    endpoint=ENDPOINT,
                    inference_id=call.inference_id,
                    content_type="application/json",
                    output_extension=call.extension,
                    filename=call.filename,
                    body=payload,
                    input_location=None,
                    accept=None,
                    custom_attributes=None,
                    ttl=21_600,
                    timeout=900,
                )
            )
            location: str | None = accepted.output_location
            return location

        yield invoke
