"""Every command of the documents runs as it is written, and each of the harnesses runs once.

The commands that a reader types run document by document. The harnesses among them
(``python -m tests...``) are slow: each distinct one is a test of its own for ``make test-slow``.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from dispatcher.config.settings import EmulatorSettings, ServiceTime
from dispatcher.emulator.server import Emulator

ROOT = Path(__file__).parents[2]
BLOCKS = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
HARNESS = re.compile(r"^python -m tests\..*$", re.MULTILINE)
# Making the environment needs the registry, and running the tests would run this one: these are
# only asked what they would do.
DRY = re.compile(r"^(make (?:test-slow|test|lint))(?!-)\b", re.MULTILINE)
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "docs/emulator.md", "docs/guarantees.md"]
"""Those of docs/plan.md are run by test_plan.py, with what they print."""


def script_of(document: str) -> str:
    """Return the commands of a document, all blocks in one."""
    return "\n".join(BLOCKS.findall((ROOT / document).read_text()))


def commands(document: str) -> str:
    """Return the commands of a document but the harnesses."""
    return DRY.sub(r"\1 --dry-run", HARNESS.sub("", script_of(document)))


def harnesses() -> list[str]:
    """Return the distinct commands of all documents that run a harness."""
    found = [command for document in DOCUMENTS for command in HARNESS.findall(script_of(document))]
    return list(dict.fromkeys(found))


def checkout(folder: Path) -> None:
    """Copy what git knows, with the environment that this test runs in."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    for name in filter(None, os.fsdecode(listed.stdout).split("\0")):
        if not (ROOT / name).exists():
            continue  # removed, and not yet staged in git
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / ".venv").mkdir()
    for part in ("bin", "lib", "pyvenv.cfg"):
        (folder / ".venv" / part).symlink_to(Path(sys.prefix) / part)
    (folder / ".venv" / ".ready").touch()


async def run(script: str, folder: Path) -> None:
    """Run commands in a checkout, with an emulator and what the documents say is set."""
    checkout(folder)
    settings = EmulatorSettings(service_time=ServiceTime(median=0.0))
    async with Emulator(settings, endpoints=["churn"]) as emulator:
        done = await anyio.run_process(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder,
            env={
                **os.environ,
                **emulator.environment,
                "PATH": f"{folder / '.venv' / 'bin'}:{os.environ['PATH']}",
                "QUEUE_URL": emulator.queue_url,
                "STAGING_BUCKET": emulator.input_bucket,
            },
            stderr=subprocess.STDOUT,
            check=False,
        )
    assert done.returncode == 0, done.stdout.decode()


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "document",
    [
        # It makes the quick start of 2,000 records; test_quickstart.py runs a short one.
        pytest.param(name, marks=[pytest.mark.slow] if name == "README.md" else [])
        for name in DOCUMENTS
    ],
)
async def test_commands_of_the_documentation(document: str, tmp_path: Path) -> None:
    assert script_of(document), f"{document} has no commands"
    await run(commands(document), tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("command", harnesses())
async def test_harnesses_of_the_documentation(command: str, tmp_path: Path) -> None:
    await run(command, tmp_path)


def test_the_harnesses_of_the_documentation_are_found() -> None:
    """``make test`` runs none of them, so that none may get lost between the two."""
    assert len(harnesses()) >= 8
    script = "\n".join(script_of(document) for document in DOCUMENTS)
    assert not re.search(r"\bpython -m (tests|benchmarks)\.", HARNESS.sub("", script))


def test_continuous_integration_runs_every_test_once() -> None:
    """``make test`` and ``make test-slow`` are the two halves of the suite."""
    steps = (ROOT / ".ci" / "run").read_text().splitlines()
    assert steps[-3:] == ["make lint", "make test", "make test-slow"]
    recipes = re.findall(r"-m pytest .*", (ROOT / "Makefile").read_text())
    halves = sorted(recipe.rpartition(" -m ")[2] for recipe in recipes)
    assert halves == ['"not slow"', "slow"]


def test_links_of_the_documentation_lead_somewhere() -> None:
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name} names {link}"
