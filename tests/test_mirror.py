"""The tests mirror the rooms: a module has a test file of its name, or this table says which one
holds it.
"""

from pathlib import Path

import dispatcher

PACKAGE = Path(dispatcher.__file__).parent
TESTS = Path(__file__).parent

HELD_ELSEWHERE = {
    "__main__": ("cli/test_program.py", "one line that calls the command"),
    "aws.direct.bucket": ("aws/test_objects.py", "both transports' buckets are held by one suite"),
    "aws.direct.caller": ("aws/test_signed_calls.py", "every signed call passes through it"),
    "aws.direct.client": ("aws/test_session.py", "it opens and closes what the session made"),
    "aws.direct.sqs": ("aws/test_queue.py", "both transports' queues are held by one suite"),
    "aws.requests": ("aws/direct/test_request.py", "types of requests and responses"),
    "aws.sdk.bucket": ("aws/test_objects.py", "both transports' buckets are held by one suite"),
    "aws.sdk.runtime": (
        "contracts/test_aws_runtime.py",
        "both transports invoke under one contract",
    ),
    "aws.sdk.sqs": ("aws/test_queue.py", "both transports' queues are held by one suite"),
    "aws.sdk.upload": ("aws/test_objects.py", "uploads of both transports are held by one suite"),
    "aws.transport": ("aws/test_session.py", "the choice of a transport is made with the session"),
    "cli.embedded_emulator": ("cli/test_run.py", "seen only through the command"),
    "cli.main": ("cli/test_program.py", "the program is the object under test"),
    "cli.options": ("cli/test_program.py", "seen only through the commands"),
    "cli.preflight": ("cli/test_account.py", "seen only through the commands"),
    "cli.runtime_tuning": ("cli/test_run.py", "seen only through the command"),
    "cli.schema": ("cli/test_program.py", "seen only through the command"),
    "cli.staged_retention": (
        "aws/preflight/test_lifecycle.py",
        "its words stand beside the rule's",
    ),
    "cli.terminal": ("cli/test_exit_codes.py", "seen only through the commands"),
    "completion.sweep.prober": ("completion/sweep/test_sweeper.py", "the sweep drives it"),
    "config.faults": ("emulator/faults/test_plan.py", "settings of the fault plan, held with it"),
    "config.problem": ("config/test_explain.py", "a type that the explanations are made of"),
    "config.retry": ("retry/test_calls.py", "settings of the retry policy, held with it"),
    "config.schema": ("config/test_examples.py", "every example is held against the schema"),
    "config.section": ("config/test_explain.py", "the base of every section"),
    "config.settings": ("config/test_load.py", "sections, held through loading"),
    "config.units": ("config/test_load.py", "units, held through loading"),
    "config.yaml.syntax": ("config/yaml/test_document.py", "seen only through a document"),
    "connectors.files.globbing": (
        "connectors/files/test_source.py",
        "seen only through the source",
    ),
    "connectors.open_sinks": ("e2e/test_way.py", "every run opens its sinks"),
    "connectors.open_source": ("e2e/test_way.py", "every run opens its source"),
    "connectors.sink": ("contracts/test_sink.py", "a Protocol, held for every implementation"),
    "connectors.sqs.message": ("connectors/sqs/test_source.py", "the source drives it"),
    "dispatch.staging.cleanup": ("dispatch/staging/test_staging.py", "staging drives it"),
    "dispatch.staging.object_cache": ("dispatch/staging/test_staging.py", "staging drives it"),
    "dispatch.staging.upload": ("dispatch/staging/test_staging.py", "staging drives it"),
    "emulator.auth.caller": ("emulator/auth/test_verification.py", "verification drives it"),
    "emulator.auth.refusals": ("emulator/auth/test_verification.py", "verification drives it"),
    "emulator.clock": ("emulator/test_sagemaker.py", "a Protocol and the real time"),
    "emulator.faults.corruption": ("emulator/faults/test_plan.py", "the plan drives it"),
    "emulator.gateway.router": ("emulator/test_http.py", "held over HTTP"),
    "emulator.http.aws_chunked": ("emulator/test_pure.py", "pure parts of several services"),
    "emulator.http.blob": ("emulator/test_objects.py", "held with the stores that keep blobs"),
    "emulator.http.connection": ("emulator/test_http.py", "held over HTTP"),
    "emulator.http.date": ("emulator/test_http.py", "held over HTTP"),
    "emulator.http.listener": ("emulator/test_http.py", "held over HTTP"),
    "emulator.http.message": ("emulator/test_http.py", "held over HTTP"),
    "emulator.models.text_stats": ("emulator/models/test_model.py", "one of the models"),
    "emulator.models.threads": ("emulator/test_signals.py", "held by a process that ends"),
    "emulator.s3.checksums": ("emulator/test_s3.py", "held over HTTP"),
    "emulator.s3.folder_store": ("emulator/test_objects.py", "both stores are held by one suite"),
    "emulator.s3.listing": ("emulator/test_pure.py", "pure parts of several services"),
    "emulator.s3.multipart": ("emulator/test_s3.py", "held over HTTP"),
    "emulator.s3.object_options": ("emulator/test_objects.py", "held with the stores"),
    "emulator.s3.objects": ("emulator/test_s3.py", "held over HTTP"),
    "emulator.s3.service": ("emulator/test_s3.py", "held over HTTP"),
    "emulator.s3.store": ("emulator/test_objects.py", "both stores are held by one suite"),
    "emulator.s3.xml": ("emulator/test_s3.py", "held over HTTP"),
    "emulator.sagemaker.accepted_log": (
        "emulator/test_state.py",
        "held with the rest of the state",
    ),
    "emulator.sagemaker.backlog": ("emulator/test_sagemaker.py", "the endpoint drives it"),
    "emulator.sagemaker.delivery": ("emulator/test_sagemaker.py", "the endpoint drives it"),
    "emulator.sagemaker.describe": ("wire/test_boto3.py", "held through boto3"),
    "emulator.sagemaker.endpoint": ("emulator/test_sagemaker.py", "held with the service"),
    "emulator.sagemaker.events": ("emulator/test_sagemaker.py", "held with the service"),
    "emulator.sagemaker.invocation": ("emulator/test_sagemaker.py", "held with the service"),
    "emulator.sagemaker.service": ("emulator/test_sagemaker.py", "held over HTTP"),
    "emulator.server": ("emulator/test_http.py", "held over HTTP"),
    "emulator.sns.filter_policy": ("emulator/test_pure.py", "pure parts of several services"),
    "emulator.sns.service": ("emulator/test_sqs.py", "held by what its queues receive"),
    "emulator.sns.topics": ("emulator/test_sqs.py", "held by what its queues receive"),
    "emulator.sqs.long_poll": ("emulator/test_sqs.py", "held over HTTP"),
    "emulator.sqs.messages": ("emulator/test_sqs.py", "held over HTTP"),
    "emulator.sqs.parameters": ("emulator/test_sqs.py", "held over HTTP"),
    "emulator.sqs.service": ("emulator/test_sqs.py", "held over HTTP"),
    "emulator.state.folder": ("emulator/test_state.py", "held with the rest of the state"),
    "emulator.state.journal": ("emulator/test_state.py", "held with the rest of the state"),
    "environment": (
        "simulation/test_simulation.py",
        "clocks and random numbers; seeds replace them",
    ),
    "errors": ("aws/test_error_mapping.py", "types; the mapping makes every one"),
    "failpoints": ("faults/test_failpoints.py", "a process dies at each of them"),
    "flow.content": ("packing/test_large_payload.py", "held with the payloads made of it"),
    "flow.finding": ("aws/preflight/test_probe.py", "a type"),
    "flow.fsync": ("faults/test_disk.py", "held by a disk that fails"),
    "ledger.check.read": ("ledger/check/test_verify.py", "verification reads with it"),
    "ledger.check.snapshot": ("ledger/check/test_verify.py", "verification is made of it"),
    "ledger.numbering": ("ledger/test_ids.py", "ids are made of its numbers"),
    "ledger.open": ("ledger/test_ledger.py", "every ledger is opened with it"),
    "ledger.operations": ("ledger/test_ledger.py", "types that the ledger writes"),
    "ledger.outcome": ("ledger/test_ledger.py", "types that the ledger takes"),
    "ledger.output_index": ("ledger/test_ledger.py", "the ledger looks up with it"),
    "ledger.settlement": ("ledger/test_ledger.py", "types that the ledger takes"),
    "ledger.store.rows": ("ledger/store/test_schema.py", "rows of the schema"),
    "ledger.store.sqlite": ("ledger/test_ledger.py", "the ledger's only store"),
    "limits": ("wire/test_limits.py", "held against botocore's models"),
    "observe.console": ("observe/test_progress.py", "what the display is written to"),
    "observe.meter": ("observe/test_summary.py", "counters, held where they are shown"),
    "observe.metrics": ("observe/test_http.py", "held over HTTP"),
    "packing.json_slices": ("packing/test_values.py", "both kinds of slices are held by one suite"),
    "packing.msgpack_slices": (
        "packing/test_values.py",
        "both kinds of slices are held by one suite",
    ),
    "packing.parcel": ("packing/test_packer.py", "a type that the packer makes"),
    "packing.routing": ("packing/test_packer.py", "the packer drives it"),
    "packing.spool_format": ("packing/test_framing.py", "held with the framings that it keeps"),
    "plan.alternatives": ("plan/test_planner.py", "the planner drives it"),
    "plan.extent": ("plan/test_planner.py", "the planner drives it"),
    "plan.report": ("plan/test_planner.py", "held by what is printed"),
    "plan.report_json": ("e2e/test_plan.py", "held by what is printed"),
    "plan.tally": ("plan/test_planner.py", "the planner drives it"),
    "reasons": ("completion/test_settler.py", "an enumeration"),
    "records.record": ("packing/test_packer.py", "types that every room takes"),
    "records.source": ("contracts/test_source.py", "a Protocol, held for every implementation"),
    "retry.backoff": ("retry/test_calls.py", "the formula of the delays that calls take"),
    "retry.outcomes": ("completion/test_policy.py", "held where completions ask it"),
    "run.compatibility": ("ledger/test_agreement.py", "held with the ledger that is resumed"),
    "run.pipeline": ("e2e/test_way.py", "held by whole runs"),
    "run.settler": ("completion/test_settler.py", "held where completions end"),
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
