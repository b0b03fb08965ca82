"""Every command in the documentation runs, as it stands there."""

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
# Making the environment needs the registry, and running the tests would run this one: these two
# are only asked what they would do.
DRY = ("make test", "make lint")


def commands(document: str) -> str:
    script = "\n".join(BLOCKS.findall((ROOT / document).read_text()))
    assert script, f"{document} has no commands"
    for line in DRY:
        script = re.sub(rf"^{line}$", f"{line} --dry-run", script, flags=re.MULTILINE)
    return script


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
            continue  # removed, and git is not told yet
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / ".venv").mkdir()
    for part in ("bin", "lib", "pyvenv.cfg"):
        (folder / ".venv" / part).symlink_to(Path(sys.prefix) / part)
    (folder / ".venv" / ".ready").touch()


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "document",
    # Those of docs/plan.md are run by test_plan.py, with what they print.
    ["README.md", "CONTRIBUTING.md", "docs/emulator.md", "docs/guarantees.md"],
)
async def test_commands_of_the_documentation(document: str, tmp_path: Path) -> None:
    checkout(tmp_path)
    settings = EmulatorSettings(service_time=ServiceTime(median=0.0))
    async with Emulator(settings, endpoints=["churn"]) as emulator:
        done = await anyio.run_process(
            ["bash", "-euo", "pipefail", "-c", commands(document)],
            cwd=tmp_path,
            env={
                **os.environ,
                **emulator.environment,
                "PATH": f"{tmp_path / '.venv' / 'bin'}:{os.environ['PATH']}",
                "QUEUE_URL": emulator.queue_url,
                "STAGING_BUCKET": emulator.input_bucket,
            },
            stderr=subprocess.STDOUT,
            check=False,
        )
    assert done.returncode == 0, done.stdout.decode()


def test_links_of_the_documentation_lead_somewhere() -> None:
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name} names {link}"
