"""Settings of staging: values that S3 would refuse are refused before anything is read."""

from collections.abc import Callable
from typing import Any

import pytest

from dispatcher.errors import ConfigError

BASE = "endpoint: churn\nsource: {path: in.jsonl}\nstaging: {bucket: inputs, %s}\n"


@pytest.mark.parametrize(
    "given",
    [
        "tags: {team: search, 'cost centre': '12/a+b=c@d.e_f:g-h', empty: ''}",
        "tags: {ä: ö}",
        f"tags: {{{'k' * 128}: {'v' * 256}}}",
        "encryption: AES256",
        "encryption: aws:kms",
        "encryption: aws:kms, kms_key: alias/mine",
    ],
)
def test_what_s3_takes(load: Callable[..., Any], given: str) -> None:
    assert load(BASE % given).staging.bucket == "inputs"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("prefix: é/", "printable ASCII characters"),
        (f"tags: {{{'k' * 129}: v}}", "at most 128"),
        (f"tags: {{k: {'v' * 257}}}", "at most 256"),
        ("tags: {'': v}", "no tag named"),
        ("tags: {'aws:k': v}", "begins with aws:"),
        ("tags: {'a&b': v}", "no tag named"),
        ('tags: {k: "a\\nb"}', "no tag k of"),
        ("tags: {a: '', b: '', c: '', d: '', e: '', f: '', g: '', h: '', i: '', j: '', k: ''}", ""),
        ("kms_key: k", "encryption: aws:kms"),
        ("encryption: AES256, kms_key: k", "encryption: aws:kms"),
        ("encryption: AES128", "AES256"),
    ],
)  # fmt: skip
def test_what_s3_does_not_take(load: Callable[..., Any], given: str, said: str) -> None:
    with pytest.raises(ConfigError, match="staging") as refused:
        load(BASE % given)
    assert said in str(refused.value)
