"""The laws of the package: which room may import which, names, circles, the size of a module.

Each law is one test, which lists every module that breaks it.
"""

import ast
import importlib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

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

SAME_CONCEPT = {
    "_TooLargeError": "each module's own way out of a loop that met a limit; never leaves it",
}
"""Names of several classes, and why they may have one name."""


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


def graph() -> dict[str, set[str]]:
    """Return the modules that each module imports, by full names; inside functions, too."""
    names = {name_of(path) for path in MODULES}
    edges = dict[str, set[str]]()
    for path in MODULES:
        edges[name_of(path)] = set()
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Import):
                edges[name_of(path)].update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.module is not None
                inner = {f"{node.module}.{alias.name}" for alias in node.names} & names
                edges[name_of(path)].update(inner or {node.module})
    return {name: imported & names for name, imported in edges.items()}


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Return the modules that import each other, directly or through others; each group once."""
    reached = {name: _reachable(name, edges) for name in edges}
    groups = {
        frozenset(other for other in reached[name] if name in reached[other])
        for name in edges
        if name in reached[name]
    }
    return sorted(sorted(group) for group in groups)


def _reachable(name: str, edges: dict[str, set[str]]) -> set[str]:
    reached, waiting = set[str](), list(edges[name])
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting.extend(edges[module])
    return reached


def test_imports_point_downwards() -> None:
    wrong = []
    for path in MODULES:
        room = room_of(name_of(path))
        imported = {
            room_of(name) for name in imports_of(path) if name.split(".")[0] == "dispatcher"
        }
        above = imported - allowed(room) if room else imported
        wrong += [f"{name_of(path)} must not import from {other}" for other in sorted(above)]
    assert not wrong, "\n".join(wrong)


def test_no_module_imports_itself_through_others() -> None:
    found = circles(graph())
    assert not found, "\n".join(" and ".join(group) for group in found)


def test_the_law_of_circles_can_be_broken() -> None:
    edges = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a", "e"}, "e": set[str](), "f": {"f"}}
    assert circles(edges) == [["a", "b", "c"], ["f"]]
    assert "dispatcher.limits" in graph()["dispatcher.aws.queue"]


def test_no_name_means_two_classes() -> None:
    modules = defaultdict[str, set[str]](set)
    for path in MODULES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef):
                modules[node.name].add(name_of(path))
    several = {name: found for name, found in modules.items() if len(found) > 1}
    wrong = [
        f"{name} is a class of {' and of '.join(sorted(found))}"
        for name, found in several.items()
        if name not in SAME_CONCEPT
    ]
    wrong += [
        f"{name} is one class: remove it from the table" for name in SAME_CONCEPT - several.keys()
    ]
    assert not wrong, "\n".join(wrong)


def test_the_law_of_imports_can_be_broken() -> None:
    assert "completion" not in allowed("dispatch")
    assert "dispatch" not in allowed("completion")
    assert "ledger" not in allowed("aws")
    assert "aws" not in allowed("ledger")
    assert "cli" not in allowed("run")
    assert "plan" not in allowed("emulator")
    assert {"aws", "observe", "ledger", "connectors"} <= allowed("run")


def test_only_the_seam_knows_the_libraries_of_aws() -> None:
    wrong = [
        f"{name_of(path)} imports {', '.join(foreign)}"
        for path in MODULES
        if room_of(name_of(path)) != "aws"
        and (foreign := {name.split(".")[0] for name in imports_of(path)} & AWS_LIBRARIES)
    ]
    assert not wrong, "\n".join(wrong)


def test_package_files_hold_promises_and_no_code() -> None:
    wrong = []
    for path in MODULES:
        if path.name == "__init__.py":
            try:
                check_package_file(path)
            except AssertionError as error:
                wrong.append(f"{name_of(path)}: {error}")
    assert not wrong, "\n".join(wrong)


def check_package_file(path: Path) -> None:
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


def test_modules_stay_small() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    wrong = [f"{name_of(path)} has {count}" for path, count in lines.items() if count > LINES]
    assert not wrong, "\n".join(wrong)


def test_no_module_is_a_drawer_for_everything() -> None:
    # What an emulated endpoint runs are models; a drawer of data classes is what is forbidden.
    names = [name_of(path).removeprefix("dispatcher.emulator.models") for path in MODULES]
    wrong = [name for name in names if set(name.split(".")) & FORBIDDEN_NAMES]
    assert not wrong, "\n".join(wrong)


def test_every_module_says_what_it_is_for() -> None:
    wrong = [name_of(path) for path in MODULES if not ast.get_docstring(tree_of(path))]
    assert not wrong, "\n".join(wrong)
