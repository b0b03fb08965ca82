"""The house keeps its plan: who may import whom, what stands where, how large a module grows."""

import ast
import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import dispatcher

ROOT = Path(dispatcher.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))

FLOORS = [
    {"errors", "limits", "failpoints", "environment", "reasons"},
    {"config"},
    {"flow", "retry"},
    {"records"},
    {"packing"},
    {"ledger"},
    {"dispatch", "completion"},
    {"connectors"},
    {"run"},
    {"plan", "samples", "emulator"},
    {"cli"},
    {"__main__"},
]
"""A room imports from itself and from the floors below it; never sideways, never upwards."""

BELOW_PACKING = set[str]().union(*FLOORS[:4])
SIDE_ROOMS = {"aws": BELOW_PACKING, "observe": BELOW_PACKING}
"""These stand beside the floors: from ``dispatch`` upwards every room may use them."""

USERS_OF_SIDE_ROOMS = 6
LINES = 400
FORBIDDEN_NAMES = {"utils", "util", "common", "core", "models", "helpers", "misc"}
AWS_LIBRARIES = {"botocore", "boto3", "aiobotocore", "aioboto3"}

each_module = pytest.mark.parametrize(
    "path", MODULES, ids=lambda path: str(path.relative_to(ROOT.parent))
)


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """Return the first name below ``dispatcher``; "" for the package itself."""
    return ([*module.split("."), ""])[1]


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(path: Path) -> Iterator[str]:
    """Yield the full names of all imported modules, those inside functions included."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide their room"
            assert node.module is not None
            if node.module == "dispatcher":
                yield from (f"dispatcher.{alias.name}" for alias in node.names)
            else:
                yield node.module


def allowed(room: str) -> set[str]:
    if room in SIDE_ROOMS:
        return SIDE_ROOMS[room] | {room}
    floor = next(level for level, rooms in enumerate(FLOORS) if room in rooms)
    below = set[str]().union(*FLOORS[:floor])
    return below | {room} | (set(SIDE_ROOMS) if floor >= USERS_OF_SIDE_ROOMS else set())


def test_every_room_is_on_the_plan() -> None:
    rooms = {room_of(name_of(path)) for path in MODULES} - {""}
    assert rooms <= set[str]().union(*FLOORS, SIDE_ROOMS)


@each_module
def test_imports_point_downwards(path: Path) -> None:
    room = room_of(name_of(path))
    imported = {room_of(name) for name in imports_of(path) if name.split(".")[0] == "dispatcher"}
    if room:
        assert imported <= allowed(room)
    else:
        assert not imported


def test_the_law_of_imports_can_be_broken() -> None:
    assert "completion" not in allowed("dispatch")
    assert "dispatch" not in allowed("completion")
    assert "ledger" not in allowed("aws")
    assert "aws" not in allowed("ledger")
    assert "cli" not in allowed("run")
    assert "plan" not in allowed("emulator")
    assert {"aws", "observe", "ledger", "connectors"} <= allowed("run")


@each_module
def test_only_the_seam_knows_the_libraries_of_aws(path: Path) -> None:
    foreign = {name.split(".")[0] for name in imports_of(path)} & AWS_LIBRARIES
    assert not foreign or room_of(name_of(path)) == "aws"


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path.name == "__init__.py"], ids=name_of
)
def test_package_files_hold_promises_and_no_code(path: Path) -> None:
    docstring, *rest = tree_of(path).body
    assert isinstance(docstring, ast.Expr)
    assert isinstance(docstring.value, ast.Constant)
    assert isinstance(docstring.value.value, str)
    for node in rest:
        if isinstance(node, ast.Assign):
            (target,) = node.targets
            assert isinstance(target, ast.Name)
            assert target.id == "__all__"
        else:
            assert isinstance(node, ast.Import | ast.ImportFrom)
    package = importlib.import_module(name_of(path))
    promised = getattr(package, "__all__", [])
    imported = {
        alias.asname or alias.name
        for node in rest
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert imported == set(promised), "what is imported here is promised, and nothing else"
    assert all(hasattr(package, name) for name in promised)


@each_module
def test_modules_stay_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES


@each_module
def test_no_module_is_a_drawer_for_everything(path: Path) -> None:
    # What an emulated endpoint runs are models; a drawer of data classes is what is forbidden.
    name = name_of(path).removeprefix("dispatcher.emulator.models")
    assert not set(name.split(".")) & FORBIDDEN_NAMES


@each_module
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(tree_of(path))
