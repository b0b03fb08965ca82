"""The tests mirror the rooms: a module has a test file of its name, or this table says which one
holds it.
"""

from pathlib import Path

import dispatcher

PACKAGE = Path(dispatcher.__file__).parent
TESTS = Path(__file__).parent

HELD_ELSEWHERE = {
    "__main__": ("cli/test_main.py", "one line that calls the command"),
    "aws.sdk.bucket": ("contracts/test_aws_objects.py", "both transports keep one contract"),
    "aws.sdk.runtime": ("contracts/test_aws_runtime.py", "both transports keep one contract"),
    "aws.sdk.sqs": ("contracts/test_aws_queue.py", "both transports keep one contract"),
    "aws.sdk.upload": ("contracts/test_aws_objects.py", "both transports keep one contract"),
    "config.faults": ("emulator/faults/test_decisions.py", "settings of the fault plan"),
    "connectors.sink": ("contracts/test_sink.py", "a Protocol: its contract suite"),
    "emulator.clock": (
        "emulator/sagemaker/test_completion_events.py",
        "times of events are written with it",
    ),
    "emulator.gateway.call": ("emulator/s3/test_call.py", "a type; each service reads its own"),
    "emulator.gateway.service": ("emulator/gateway/test_router.py", "a Protocol"),
    "emulator.http.date": ("emulator/test_signed_requests.py", "every response has one"),
    "emulator.http.message": ("emulator/http/test_connection.py", "types of the server"),
    "emulator.s3.fault_types": ("emulator/gateway/test_fault_types.py", "declarations"),
    "emulator.s3.object_options": ("emulator/s3/test_folder_store.py", "kept with the objects"),
    "emulator.s3.xml": ("emulator/s3/test_service.py", "the service's documents"),
    "emulator.sagemaker.describe": ("wire/test_boto3.py", "read by boto3"),
    "emulator.sagemaker.service": ("emulator/sagemaker/test_invocation.py", "calls go through it"),
    "emulator.sns.fault_types": ("emulator/gateway/test_fault_types.py", "declarations"),
    "emulator.sqs.messages": ("emulator/sqs/test_service.py", "the service's entries"),
    "emulator.sqs.parameters": ("emulator/sqs/test_service.py", "the service's parameters"),
    "flow.finding": ("cli/test_check.py", "a type that checks return"),
    "ledger.operations": ("ledger/store/test_sqlite.py", "types that the store writes"),
    "ledger.levels": ("ledger/test_ledger.py", "collected from an open ledger"),
    "limits": ("wire/test_limits.py", "constants, against botocore's model"),
    "observe.events": ("observe/test_meter.py", "types; every kind is played to the meter"),
    "observe.status_json": ("observe/test_http.py", "read over HTTP"),
    "records.source": ("contracts/test_source.py", "a Protocol: its contract suite"),
    "run.pipeline": ("e2e/test_whole_run.py", "whole runs; and tests/simulation"),
}
"""By module: the test file that holds it, and why it has none of its own."""


def modules() -> dict[str, Path]:
    """Return the test file of its name for each module with code in it."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): TESTS
        / path.relative_to(PACKAGE).with_name(f"test_{path.name}")
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.name != "__init__.py"
    }


def broken(own: dict[str, Path], table: dict[str, tuple[str, str]]) -> list[str]:
    """Return what is wrong with the mirror, a line each."""
    missing = [
        f"{module}: write {path.relative_to(TESTS)}, or enter in the table what holds it"
        for module, path in own.items()
        if not path.exists() and module not in table
    ]
    needless = [
        f"{module}: it has a test file of its name; remove it from the table"
        for module, path in own.items()
        if path.exists() and module in table
    ]
    unknown = [
        f"{module}: no such module; remove it from the table" for module in table.keys() - own
    ]
    absent = [
        f"{module}: the table names {path}, which does not exist"
        for module, (path, _) in table.items()
        if not (TESTS / path).exists()
    ]
    return missing + needless + unknown + absent


def test_every_module_is_held_by_a_test_file_that_a_reader_finds() -> None:
    wrong = broken(modules(), HELD_ELSEWHERE)
    assert not wrong, "\n".join(wrong)


def test_the_law_of_the_mirror_can_be_broken() -> None:
    own = {"a": TESTS / "test_no_such.py", "b": Path(__file__), "c": TESTS / "test_no_such.py"}
    table = {"b": ("test_mirror.py", ""), "c": ("test_no_such.py", ""), "d": ("test_mirror.py", "")}
    assert [line.partition(":")[0] for line in broken(own, table)] == ["a", "b", "d", "c"]
