"""aiohttp with the dispatcher's signature: what leaving botocore out is worth by itself."""

import os
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256

import aiohttp
from yarl import URL

from benchmarks.callers.call import ENDPOINT, Call, InvokeLater
from dispatcher.aws.direct.sigv4 import Keys, Signer, canonical_headers


@asynccontextmanager
async def open_client(payload: bytes, concurrency: int) -> AsyncIterator[InvokeLater]:
    """Open a session."""
    path = f"/endpoints/{ENDPOINT}/async-invocations"
    url = URL(os.environ["AWS_ENDPOINT_URL"]).with_path(path)
    authority = os.environ.get("AWS_CA_BUNDLE")
    signer = Signer("sagemaker", os.environ["AWS_REGION"])
    keys = Keys(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"], None)
    connector = aiohttp.TCPConnector(
        limit=concurrency,
        ssl=ssl.create_default_context(cafile=authority) if authority else True,
    )
    async with aiohttp.ClientSession(connector=connector) as session:

        async def invoke(call: Call) -> str | None:
            stamp = signer.stamp(time.time())
            headers = {
                "Host": url.authority,
                "X-Amz-Date": stamp,
                "X-Amzn-SageMaker-Content-Type": "application/json",
                "X-Amzn-SageMaker-Inference-Id": call.inference_id,
                "X-Amzn-SageMaker-S3OutputPathExtension": call.extension,
                "X-Amzn-SageMaker-Filename": call.filename,
            }
            lines, names = canonical_headers(list(headers.items()))
            digest = sha256(payload).hexdigest()
            headers["Authorization"] = signer.authorization(
                "POST",
                path,
                "",
                lines=lines,
                names=names,
                payload_hash=digest,
                keys=keys,
                stamp=stamp,
            )
            async with session.post(url, data=payload, headers=headers) as answer:
                await answer.read()
                return answer.headers.get("X-Amzn-SageMaker-OutputLocation")

        yield invoke
