"""A process that is killed while it stages a large record leaves no parts of it behind for good."""

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from tests.faults import crash

MEGABYTES = 300
BUCKET = "emulator-input"


def s3_of(exported: dict[str, str]) -> Any:
    return botocore.session.get_session().create_client(
        "s3",
        region_name=exported["AWS_REGION"],
        endpoint_url=exported["AWS_ENDPOINT_URL"],
        aws_access_key_id=exported["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=exported["AWS_SECRET_ACCESS_KEY"],
    )


def uploads(s3: Any) -> list[str]:
    return [
        found["UploadId"] for found in s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", ())
    ]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_next_process_deletes_the_parts(tmp_path: Path) -> None:
    with (tmp_path / "in.jsonl").open("wb") as file:
        file.write(b'{"id": 1, "text": "')
        file.writelines(itertools.repeat(b"0123456789" * 100_000, MEGABYTES))
        file.write(b'"}\n')
    model = ("--model", "tests.faults.memory:length", "--state", str(tmp_path / "s3"))
    with crash.emulator(tmp_path, *model) as exported:
        s3 = s3_of(exported)
        config = crash.configure(tmp_path, exported, source={"max_record": "1GB"})
        command = [sys.executable, "-m", "dispatcher", "run", str(config), "--progress", "none"]
        environment = {**os.environ, **exported}
        with subprocess.Popen(command, env=environment) as run:
            deadline = time.monotonic() + 60
            while not uploads(s3):
                assert run.poll() is None, "it ended before it staged anything"
                assert time.monotonic() < deadline
            run.send_signal(signal.SIGKILL)
        (left,) = uploads(s3)
        assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET), "it was killed too late"
        subprocess.run(command, env=environment, check=True)
        assert left not in uploads(s3)
        assert not uploads(s3)
        assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET)
    assert crash.lines_of(tmp_path, "results") == 1
