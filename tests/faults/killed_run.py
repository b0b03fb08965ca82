"""One run of the real command that is killed again and again, its files checked each time."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from dispatcher.cli.main import program
from dispatcher.failpoints import VARIABLE
from dispatcher.ledger.check.ledger_snapshot import LedgerSnapshot
from dispatcher.ledger.check.read import read_snapshot
from dispatcher.ledger.ids import number_of
from dispatcher.ledger.states import State
from tests.faults import real
from tests.faults.cloud import Cloud
from tests.faults.scenario import LARGE_BYTES, Interruption, Scenario

PROCESS_SECONDS = 60
RUN_SECONDS = 120
STOP_SECONDS = 20
VISIBILITY_SECONDS = 3

FLUSHED_SECONDS = 1.0
"""An acceptance that is older is durable: 0.05 s until a commit begins, and that on a slow disk."""


@dataclass(slots=True)
class Report:
    """The outcome of a run.

    Attributes:
        wrong: What is wrong, each a sentence; empty if all is right.
        counts: Kills, stops, records, invocations and so on.
        struck: How often each fault struck.
        seconds: How long it took.
        folder: Where it is kept, if something is wrong.
    """

    seed: int
    seconds: float = 0.0
    folder: str = ""
    wrong: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    struck: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class KilledRun:
    """A scenario in a folder of its own."""

    scenario: Scenario
    folder: Path
    cloud: Cloud
    texts: dict[str, str]
    config: Path
    report: Report
    planned: dict[int, set[str]] = field(default_factory=dict)
    """Ids that the ledger did not know to be accepted when a term ended."""
    died: float = 0.0
    """A moment at which the last process still lived, or had just ended; monotonic seconds."""
    seen: dict[int, set[str]] = field(default_factory=dict)
    """Those of them whose output was there for anybody who looked, when the next term began."""
    can_look: bool = False

    def run(self) -> None:
        """Interrupt the run as often as it says, let it finish, and report what is wrong."""
        for interruption in self.scenario.interruptions:
            code = self._run_process(interruption)
            self._look()
            time.sleep(interruption.pause)
            if code == 0 or self.report.wrong:
                break  # it was done before the interruption, or there is enough to look into
        if not self.report.wrong:
            self._finish()
        self._count()

    def _start(self, failpoint: str | None = None) -> subprocess.Popen[bytes]:
        if self.can_look:
            done = {name.removesuffix(".out") for name in self.cloud.outputs()}
            self.seen[self.cloud.term] = self.planned[self.cloud.term] & done
        self.cloud.term += 1
        environment = {**os.environ, **self.cloud.environment}
        if failpoint is not None:
            environment[VARIABLE] = failpoint
        with self._log().open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dispatcher", "run", str(self.config), "--progress", "json"],
                env=environment,
                stderr=log,
            )

    def _log(self) -> Path:
        return self.folder / f"process-{self.cloud.term:02}.log"

    def _run_process(self, interruption: Interruption) -> int:
        """Run until the process is interrupted; return the exit code."""
        process = self._start(interruption.failpoint)
        try:
            self._wait(process, interruption)
            if interruption.kind != "kill" and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                if not interruption.kills:
                    process.wait(STOP_SECONDS)
                else:
                    time.sleep(interruption.after)
            self.died = time.monotonic()
            process.kill()
            code = process.wait()
        except subprocess.TimeoutExpired:
            self._wrong(f"was still there {STOP_SECONDS} s after SIGTERM")
            code = 0
        finally:
            process.kill()
            process.wait()
        stopped = {128 + signal.SIGTERM, -signal.SIGTERM}  # negative: before it listened to signals
        expected = {0, -signal.SIGKILL, *(() if interruption.kind == "kill" else stopped)}
        if code not in expected:
            self._wrong(f"ended with exit code {code}")
        self.report.counts["kills"] += code == -signal.SIGKILL
        self.report.counts["stops"] += code in stopped
        return code

    def _wait(self, process: subprocess.Popen[bytes], interruption: Interruption) -> None:
        began = time.monotonic()
        while real.lines_of(self.folder) < interruption.lines and process.poll() is None:
            if time.monotonic() > began + PROCESS_SECONDS:
                self._wrong(f"did not come to {interruption.lines} results in {PROCESS_SECONDS} s")
                return
            time.sleep(real.LOOK_SECONDS)
        time.sleep(interruption.after)

    def _finish(self) -> None:
        process = self._start()
        try:
            code = process.wait(RUN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            self._wrong(f"did not finish in {RUN_SECONDS} s")
            return
        if code:
            self._wrong(f"ended with exit code {code}")
        self._look()
        whole = real.wrong_results(self.folder, self.texts, self.scenario.joined)
        self.report.wrong += whole
        self.report.counts["wrong lines"] += len(whole)
        if dead := (self.folder / "dead.jsonl").read_text():
            self._wrong(f"left dead letters: {dead[:500]}")
        if left := self.cloud.left():
            self._wrong(f"left {left} messages in the queue that it read from")
        summary = self._summary()
        if summary is None:
            return
        counts = [summary[name] for name in ("read", "completed", "dead", "unfinished")]
        if counts != [len(self.texts), len(self.texts), 0, 0] or not summary["balanced"]:
            self._wrong(f"says read, completed, dead, unfinished {counts}")
        status = self._status()
        shown = [status[name] for name in ("read", "completed", "dead", "outstanding_records")]
        if shown != counts or not status["finished"]:
            self._wrong(f"has a status that differs: {shown}")
        if status["repeated"] != summary["repeated"]:
            self._wrong(f"repeated {summary['repeated']}, and {status['repeated']} by its status")
        self.report.counts["repeated"] += status["repeated"]

    def _summary(self) -> dict[str, Any] | None:
        for line in reversed(self._log().read_text().splitlines()):
            if line.startswith('{"event":"summary"'):
                summary: dict[str, Any] = json.loads(line)
                return summary
        self._wrong("printed no summary")
        return None

    # What a process left

    def _look(self) -> None:
        """Judge the ledger and the settled part of the results when a process has ended."""
        if "Traceback" in (said := self._log().read_text()):
            self._wrong(f"printed a traceback: {said[-500:]}")
        status = self._status()
        if not status:
            self.planned[self.cloud.term] = set()
            return
        checked = _dispatcher("ledger", "check", str(self.config))
        if checked.exit_code:
            self._wrong(f"left an unsound ledger: {checked.output[:1000]}")
        if status["read"] != status["completed"] + status["dead"] + status["outstanding_records"]:
            self._wrong(f"left no balance: {status}")
        lines = self._settled(status["results_bytes"])
        if len(lines) != status["completed"]:
            self._wrong(f"settled {status['completed']} and wrote {len(lines)} lines")
        wrong = real.wrong_lines(lines, self.texts, self.scenario.joined)
        self.report.counts["wrong lines"] += len(wrong)
        self.report.wrong += wrong
        self._remember(read_snapshot(self.folder / "state" / "ledger.db"))

    def _remember(self, held: LedgerSnapshot) -> None:
        """Note what the ledger knows of calls, and hold it against what the service knows."""
        term, facts = self.cloud.term, {str(name): str(value) for name, value in held.facts}
        self.planned[term] = {str(row[1]) for row in held.invocations if row[3] == State.PLANNED}
        # Without the base that the first response named, and with names of the service's own, there
        # is nothing to look at.
        self.can_look = "output_base" in facts
        for invocation, terms in self.cloud.accepted.items():
            number = number_of(facts["tag"], invocation)
            if number is None or not isinstance(held.last_number, int) or number > held.last_number:
                self._wrong(f"sent {invocation} before its intent was durable")
            is_answered = terms[term] > self.cloud.unanswered[invocation][term]
            age = self.died - self.cloud.accepted_at[invocation]
            if is_answered and age > FLUSHED_SECONDS and invocation in self.planned[term]:
                self._wrong(f"had not stored the acceptance of {invocation} after {age:.1f} s")

    def _settled(self, size: int) -> list[bytes]:
        results = self.folder / "results.jsonl"
        return results.read_bytes()[:size].splitlines() if size else []

    def _status(self) -> dict[str, Any]:
        """Return what ``dispatcher status`` shows; nothing before there is a ledger."""
        shown = _dispatcher("status", str(self.config), "--json")
        if shown.exit_code == 1 and not real.lines_of(self.folder) and not self.cloud.accepted:
            return {}
        if shown.exit_code:
            self._wrong(f"has no status: {shown.output}")
            return {}
        status: dict[str, Any] = json.loads(shown.stdout)
        return status

    # What the service knows

    def _count(self) -> None:
        """Hold the calls that were accepted against those that were really ambiguous.

        A call may be made again only for two reasons. In the same process: an earlier one was
        accepted, and the connection reset without an answer. In a later process: when the one
        before ended, the service had accepted it, the ledger did not know, and there was no output
        that would have said so.
        """
        counts, twice = self.report.counts, 0
        for invocation, terms in self.cloud.accepted.items():
            unanswered = self.cloud.unanswered[invocation]
            before = False
            for term in sorted(terms):
                if terms[term] > 1 + unanswered[term]:
                    self._wrong(f"was sent {invocation} again after an answer (process {term})")
                if before and invocation not in self.planned[term - 1]:
                    self._wrong(f"sent {invocation} again, known to be accepted (process {term})")
                if before and invocation in self.seen.get(term - 1, ()):
                    self._wrong(f"sent {invocation} again, whose output was there (process {term})")
                before = True
            twice += terms.total() > 1
            counts["accepted"] += terms.total()
            counts["unanswered"] += unanswered.total()
            counts["ambiguous at an end"] += sum(
                invocation in planned and any(earlier <= term for earlier in terms)
                for term, planned in self.planned.items()
            )
        counts["runs"] += 1
        counts["records"] += len(self.texts)
        counts["invocations"] += len(self.cloud.accepted)
        counts["sent more than once"] += twice
        if twice > counts["repeated"] and not self.report.wrong:
            self._wrong(f"counted {counts['repeated']} repeated, and {twice} were sent twice")
        self.report.struck += self.cloud.struck

    def _wrong(self, what: str) -> None:
        self.report.wrong.append(f"process {self.cloud.term} {what}")


def _dispatcher(*arguments: str) -> Any:
    return CliRunner().invoke(program, arguments)


def run_scenario(scenario: Scenario, folder: Path) -> Report:
    """Run a scenario in an empty folder."""
    rng = random.Random(scenario.seed)
    texts = real.write_records(
        folder / "in.jsonl", scenario.records, 600, rng,
        large_share=scenario.large_share, large=LARGE_BYTES,
    )  # fmt: skip
    with Cloud(**scenario.emulator) as cloud:
        config = real.configure(folder, cloud.environment, **scenario.sections)
        settings = json.loads(config.read_text())
        if scenario.without_queue:
            del settings["completion"]["queue_url"]
        if scenario.from_queue:
            bodies = (folder / "in.jsonl").read_text().splitlines()
            url = cloud.deliver(bodies, visibility=VISIBILITY_SECONDS)
            settings["source"] = {"type": "sqs", "queue_url": url, "key": "id", "until_empty": "1s"}
        config.write_text(json.dumps(settings))
        report, began = Report(scenario.seed), time.monotonic()
        KilledRun(scenario, folder, cloud, texts, config, report).run()
        report.seconds = time.monotonic() - began
    return report
