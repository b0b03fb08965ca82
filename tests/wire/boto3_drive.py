"""Drive an emulator with plain boto3 and print the results as JSON.

Runs in an environment of its own, with the current boto3 and nothing of this project:
``python boto3_drive.py URL THROTTLING_URL AHEAD_URL``. The first and the last one verify
signatures, and the last one's clock is an hour ahead. The tests in ``test_boto3.py`` judge the
findings.
"""

import base64
import io
import json
import sys
import urllib.request
import zlib
from collections.abc import Callable
from typing import Any

import boto3
import botocore
import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

CONFIG: dict[str, Any] = {
    "retries": {"total_max_attempts": 1},
    "connect_timeout": 10,
    "read_timeout": 30,
}
ENDPOINT = "emulated"

Found = dict[str, Any]


def client(
    service: str,
    url: str,
    *,
    key: str = "emulator",
    secret: str = "emulator",
    region: str = "us-east-1",
    token: str | None = None,
    **config: Any,
) -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(**CONFIG, **config),
    )


def refusal(call: Callable[..., Any], **kwargs: Any) -> Found:
    try:
        answer = call(**kwargs)
    except ClientError as error:
        response = error.response
        return {
            "class": type(error).__name__,
            "code": response["Error"]["Code"],
            "message": response["Error"].get("Message"),
            "status": response["ResponseMetadata"]["HTTPStatusCode"],
            "headers": response["ResponseMetadata"]["HTTPHeaders"],
        }
    return {"class": None, "answer": repr(answer)}


def split(location: str) -> dict[str, str]:
    bucket, _, key = location.removeprefix("s3://").partition("/")
    return {"Bucket": bucket, "Key": key}


class Queue:
    def __init__(self, sqs: Any, name: str) -> None:
        self.sqs = sqs
        self.url: str = sqs.create_queue(QueueName=name)["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])
        self.arn: str = attributes["Attributes"]["QueueArn"]

    def take(self, count: int, wait: int = 10) -> list[str]:
        bodies: list[str] = []
        while len(bodies) < count:
            answer = self.sqs.receive_message(
                QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=wait
            )
            messages = answer.get("Messages", [])
            if not messages:
                break
            bodies += [message["Body"] for message in messages]
            self.sqs.delete_message_batch(
                QueueUrl=self.url,
                Entries=[
                    {"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]}
                    for n, message in enumerate(messages)
                ],
            )
        return bodies


def drive_invocations(url: str, found: Found) -> None:
    runtime, s3, sqs, sns, sagemaker = (
        client(name, url) for name in ("sagemaker-runtime", "s3", "sqs", "sns", "sagemaker")
    )
    described = sagemaker.describe_endpoint(EndpointName=ENDPOINT)
    config = sagemaker.describe_endpoint_config(EndpointConfigName=described["EndpointConfigName"])
    output_config = config["AsyncInferenceConfig"]["OutputConfig"]
    found["described"] = {"status": described["EndpointStatus"], "output": output_config}
    topic = output_config["NotificationConfig"]["SuccessTopic"]
    wrapped, mine = Queue(sqs, "wrapped"), Queue(sqs, "mine")
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=wrapped.arn)
    sns.subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=mine.arn,
        Attributes={
            "RawMessageDelivery": "true",
            "FilterPolicyScope": "MessageBody",
            "FilterPolicy": json.dumps({"inferenceId": [{"prefix": "mine-"}]}),
        },
    )

    inline = runtime.invoke_endpoint_async(
        EndpointName=ENDPOINT,
        Body=b'{"text": "one two"}',
        ContentType="application/json",
        Accept="application/json",
        CustomAttributes="trace=1",
        InferenceId="mine-1",
        S3OutputPathExtension="run/07",
        Filename="mine-1.json",
    )
    found["inline"] = {
        "status": inline["ResponseMetadata"]["HTTPStatusCode"],
        "InferenceId": inline["InferenceId"],
        "OutputLocation": inline["OutputLocation"],
        "FailureLocation": inline["FailureLocation"],
    }
    s3.put_object(Bucket="emulator-input", Key="in/big.bin", Body=b"x" * 200_000)
    staged = runtime.invoke_endpoint_async(
        EndpointName=ENDPOINT,
        InputLocation="s3://emulator-input/in/big.bin",
        ContentType="application/octet-stream",
    )
    found["staged"] = {
        "InferenceId": staged["InferenceId"],
        "OutputLocation": staged["OutputLocation"],
        "FailureLocation": staged["FailureLocation"],
    }
    missing = runtime.invoke_endpoint_async(
        EndpointName=ENDPOINT, InputLocation="s3://emulator-input/not/there"
    )
    found["missing"] = {"InferenceId": missing["InferenceId"]}

    completions = Queue(sqs, "completions")
    raw = [json.loads(body) for body in completions.take(5)]
    found["test_events"] = [event for event in raw if "inferenceId" not in event]
    found["raw_events"] = [event for event in raw if "inferenceId" in event]
    found["wrapped_events"] = [json.loads(body) for body in wrapped.take(2)]
    found["filtered_events"] = [json.loads(body) for body in mine.take(2, wait=1)]

    answer = s3.get_object(**split(inline["OutputLocation"]))
    found["inline_output"] = {
        "body": answer["Body"].read().decode(),
        "type": answer["ContentType"],
    }
    answer = s3.get_object(**split(staged["OutputLocation"]))
    found["staged_output_bytes"] = len(answer["Body"].read())
    answer = s3.get_object(**split(missing["FailureLocation"]))
    found["missing_failure"] = answer["Body"].read().decode()


def drive_refusals(url: str, throttling_url: str, found: Found) -> None:
    runtime = client("sagemaker-runtime", url)

    def invoke(client: Any = runtime, **given: Any) -> Found:
        return refusal(client.invoke_endpoint_async, **{"EndpointName": ENDPOINT, **given})

    body: dict[str, Any] = {"Body": b"{}"}
    there = "s3://emulator-input/a"
    found["refusals"] = {
        "both": invoke(Body=b"{}", InputLocation=there),
        "neither": invoke(),
        "empty_body": invoke(Body=b""),
        "body_long": invoke(Body=b"x" * 128_001),
        "input_location_long": invoke(InputLocation="s3://b/" + "k" * 1018),
        "input_location_pattern": invoke(InputLocation="http://b/k"),
        "content_type_long": invoke(**body, ContentType="t" * 1025),
        "accept_long": invoke(**body, Accept="t" * 1025),
        "custom_attributes_long": invoke(**body, CustomAttributes="t" * 1025),
        "inference_id_long": invoke(**body, InferenceId="i" * 65),
        "inference_id_pattern": invoke(**body, InferenceId="a\tb"),
        "extension_long": invoke(**body, S3OutputPathExtension="e" * 513),
        "extension_scheme": invoke(**body, S3OutputPathExtension="s3:b"),
        "extension_pattern": invoke(**body, S3OutputPathExtension="a b"),
        "filename_long": invoke(**body, Filename="f" * 33),
        "filename_two_dots": invoke(**body, Filename="a.b.c"),
        "filename_pattern": invoke(**body, Filename=".out"),
        "ttl_large": invoke(**body, RequestTTLSeconds=21_601),
        "timeout_large": invoke(**body, InvocationTimeoutSeconds=3_601),
        "unknown_endpoint": invoke(**body, EndpointName="not-there"),
    }
    found["at_the_limit"] = invoke(
        Body=b"x" * 128_000,
        ContentType="t" * 1024,
        InferenceId="i" * 64,
        Filename="f" * 28 + ".out",
        S3OutputPathExtension="e" * 512,
        RequestTTLSeconds=21_600,
        InvocationTimeoutSeconds=3_600,
    )["class"]
    found["throttled"] = invoke(
        client("sagemaker-runtime", throttling_url, key="any", secret="any"), **body
    )
    found["unsigned"] = invoke(client("sagemaker-runtime", url, signature_version=UNSIGNED), **body)
    found["denied"] = {
        "sagemaker": invoke(client("sagemaker-runtime", url, key="denied"), **body),
        "s3": refusal(
            client("s3", url, key="denied").get_object, Bucket="emulator-output", Key="a"
        ),
        "sqs": refusal(client("sqs", url, key="denied").get_queue_url, QueueName="completions"),
    }
    found["control_plane_unknown"] = refusal(
        client("sagemaker", url).describe_endpoint, EndpointName="not-there"
    )


def drive_s3(url: str, found: Found) -> None:
    s3 = client("s3", url)
    s3.create_bucket(Bucket="parts")
    content = bytes(range(256)) * 80_000
    s3.upload_fileobj(io.BytesIO(content), "parts", "dir/large.bin")
    fetched = io.BytesIO()
    s3.download_fileobj("parts", "dir/large.bin", fetched)
    found["multipart_round_trip"] = fetched.getvalue() == content
    found["multipart_etag"] = s3.head_object(Bucket="parts", Key="dir/large.bin")["ETag"]
    odd = "dir/a b+c%20/ü?&=#.json"
    s3.put_object(Bucket="parts", Key=odd, Body=b"odd", Metadata={"who": "me"})
    listed = s3.get_paginator("list_objects_v2").paginate(
        Bucket="parts", Prefix="dir/", PaginationConfig={"PageSize": 1}
    )
    found["listed"] = [item["Key"] for page in listed for item in page.get("Contents", [])]
    found["odd_key"] = {
        "body": s3.get_object(Bucket="parts", Key=odd)["Body"].read().decode(),
        "metadata": s3.head_object(Bucket="parts", Key=odd)["Metadata"],
    }
    stream = io.BytesIO(b"streamed " * 1000)
    s3.put_object(Bucket="parts", Key="streamed", Body=stream, ChecksumAlgorithm="SHA256")
    found["aws_chunked"] = len(s3.get_object(Bucket="parts", Key="streamed")["Body"].read())
    drive_keeping(s3, found)
    deleted = s3.delete_objects(Bucket="parts", Delete={"Objects": [{"Key": odd}]})
    found["deleted"] = [item["Key"] for item in deleted["Deleted"]]
    found["s3_missing"] = {
        "key": refusal(s3.get_object, Bucket="parts", Key=odd),
        "head": refusal(s3.head_object, Bucket="parts", Key=odd),
        "bucket": refusal(s3.get_object, Bucket="no-such-bucket", Key="a"),
    }
    found["sqs_missing"] = refusal(client("sqs", url).get_queue_url, QueueName="nope")


def drive_keeping(s3: Any, found: Found) -> None:
    """Encryption, tags, and an upload in parts whose checksums are returned."""
    key = {"Bucket": "parts", "Key": "kept"}
    keeping = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "k", "Tagging": "a=1&b=x%20y"}
    responses = {
        "put": s3.put_object(**key, Body=b"kept", **keeping),
        "get": s3.get_object(**key),
        "head": s3.head_object(**key),
    }
    begun = s3.create_multipart_upload(**key, ChecksumAlgorithm="CRC32", **keeping)
    other = s3.create_multipart_upload(**key)
    listed = s3.list_multipart_uploads(Bucket="parts", Prefix="kept")["Uploads"]
    s3.abort_multipart_upload(**key, UploadId=other["UploadId"])
    left = s3.list_multipart_uploads(Bucket="parts")["Uploads"]
    found["uploads"] = [
        {item["UploadId"] for item in listed} == {begun["UploadId"], other["UploadId"]},
        [item["UploadId"] for item in left] == [begun["UploadId"]],
    ]
    upload, content, parts = {**key, "UploadId": begun["UploadId"]}, b"p" * (5 << 20), []
    for number in (1, 2):
        crc = base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()
        part = {**upload, "PartNumber": number}
        wrong = refusal(s3.upload_part, **part, Body=content, ChecksumCRC32="AAAAAA==")
        answer = s3.upload_part(**part, Body=content, ChecksumCRC32=crc)
        parts.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumCRC32": crc})
    forged = [{**parts[0], "ChecksumCRC32": "AAAAAA=="}, parts[1]]
    complete = s3.complete_multipart_upload
    found["upload_refused"] = [
        wrong["code"],
        refusal(complete, **upload, MultipartUpload={"Parts": forged})["code"],
        refusal(complete, **upload, MultipartUpload={"Parts": parts}, MpuObjectSize=7)["code"],
    ]
    responses["complete"] = complete(
        **upload, MultipartUpload={"Parts": parts}, MpuObjectSize=2 * len(content)
    )
    responses["head of parts"] = s3.head_object(**key, ChecksumMode="ENABLED")
    found["kept"] = {
        name: [answer.get("ServerSideEncryption"), answer.get("SSEKMSKeyId")]
        for name, answer in responses.items()
    }
    found["composite"] = responses["head of parts"]["ChecksumCRC32"]
    tags = s3.get_object_tagging(**key)["TagSet"]
    found["tags"] = {tag["Key"]: tag["Value"] for tag in tags}
    found["keeping_refused"] = [
        refusal(s3.put_object, **key, Body=b"", **given)["code"]
        for given in (
            {"ServerSideEncryption": "AES128"},
            {"ServerSideEncryption": "AES256", "SSEKMSKeyId": "k"},
            {"Tagging": "&".join(f"k{n}=v" for n in range(11))},
            {"Tagging": "k" * 129 + "=v"},
            {"Tagging": "k=" + "v" * 257},
            {"Tagging": "aws:k=v"},
            {"Tagging": "a=1&a=2"},
        )
    ]
    s3.delete_object(**key)


ODD_KEYS = [
    "a b", " blanks at both ends ", "a+b", "100%", "%41", "a%2Fb", "a%20b", "//", "/a", "a//b",
    "./a", "../a", "a/./b", "a/../b", "a/", "~", "*", "'", '"', "(a)", "a;b", "a:b@c", "a=b&c",
    "a?b", "a#b", "a,b", "!$", "[a]", "{a}", "a|b", "a^b`", "<a>", "a\\b", "-_.", "ü/日本/😀",
    "e\u0301",
]  # fmt: skip


def drive_odd_keys(url: str, found: Found) -> None:
    s3 = client("s3", url)
    s3.create_bucket(Bucket="odd-keys")
    for n, key in enumerate(ODD_KEYS):
        s3.put_object(Bucket="odd-keys", Key=key, Body=str(n).encode(), Metadata={"a.b!c": "a  b"})
    read = [s3.get_object(Bucket="odd-keys", Key=key)["Body"].read().decode() for key in ODD_KEYS]
    found["odd_keys_read"] = [read, [str(n) for n in range(len(ODD_KEYS))]]
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket="odd-keys", PaginationConfig={"PageSize": 2}
    )
    listed = [item["Key"] for page in pages for item in page["Contents"]]
    found["odd_keys_listed"] = [listed, sorted(ODD_KEYS)]
    found["odd_prefixes_found"] = [
        key
        in {item["Key"] for item in s3.list_objects_v2(Bucket="odd-keys", Prefix=key)["Contents"]}
        for key in ODD_KEYS
    ]
    for key in ODD_KEYS:
        s3.delete_object(Bucket="odd-keys", Key=key)
    found["odd_keys_left"] = s3.list_objects_v2(Bucket="odd-keys")["KeyCount"]


def drive_presigned(url: str, found: Found) -> None:
    s3 = client("s3", url, signature_version="s3v4")
    place = {"Bucket": "parts", "Key": "presigned (1)"}
    for name, method, body in (
        ("put_object", "PUT", b"signed before"),
        ("get_object", "GET", None),
    ):
        link = s3.generate_presigned_url(name, Params=place)
        request = urllib.request.Request(link, body, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            found[f"presigned_{method}"] = answer.read().decode()
    link = s3.generate_presigned_url("get_object", Params=place).replace("presigned", "other")
    try:
        urllib.request.urlopen(link, timeout=10).close()
        found["presigned_other"] = "accepted"
    except urllib.request.HTTPError as error:
        found["presigned_other"] = error.read().decode()
        error.close()


CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "sagemaker-runtime": ("invoke_endpoint_async", {"EndpointName": ENDPOINT, "Body": b"{}"}),
    "sagemaker": ("describe_endpoint", {"EndpointName": ENDPOINT}),
    "s3": ("put_object", {"Bucket": "emulator-input", "Key": "a", "Body": b"a"}),
    "sqs": ("get_queue_url", {"QueueName": "completions"}),
    "sns": ("list_topics", {}),
}


def drive_signatures(url: str, ahead_url: str, found: Found) -> None:
    def call(service: str, url: str = url, **identity: str) -> Found:
        name, given = CALLS[service]
        return refusal(getattr(client(service, url, **identity), name), **given)

    found["wrongly_signed"] = {
        service: {
            "secret": call(service, secret="another"),
            "key": call(service, key="another"),
            "clock": call(service, ahead_url),
            "region": call(service, region="eu-west-1"),
            "nothing": call(service, token="any"),
        }
        for service in CALLS
    }


def read_model(found: Found) -> None:
    model = botocore.session.get_session().get_service_model("sagemaker-runtime")
    operation = model.operation_model("InvokeEndpointAsync")
    found["model"] = {
        name: {"metadata": shape.metadata, "type": shape.type_name}
        for name, shape in operation.input_shape.members.items()
    }
    found["versions"] = {"boto3": boto3.__version__, "botocore": botocore.__version__}


def main() -> None:
    url, throttling_url, ahead_url = sys.argv[1:]
    found: Found = {}
    read_model(found)
    drive_invocations(url, found)
    drive_refusals(url, throttling_url, found)
    drive_s3(url, found)
    drive_odd_keys(url, found)
    drive_presigned(url, found)
    drive_signatures(url, ahead_url, found)
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
