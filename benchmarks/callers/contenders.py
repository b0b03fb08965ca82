"""The contenders and their modules; only the one that runs is imported."""

CONTENDERS = {
    "boto3-threads": "boto3_threads",
    "aioboto3": "aioboto3_client",
    "aiohttp-signed": "aiohttp_signed",
    "ours": "ours",
}
