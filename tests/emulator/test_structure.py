"""The law of imports inside the emulator: floors, no circle, little of the product."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import dispatcher

ROOT = Path(dispatcher.__file__).parent
EMULATOR = "dispatcher.emulator."

FLOORS = (
    {"clock"},
    {"state", "models", "http"},
    {"auth"},
    {"gateway"},
    {"s3", "sqs"},
    {"sns"},
    {"sagemaker"},
    {"faults"},
    {"server"},
    {"pytest_plugin"},
)
"""A sub-folder, or a module beside them, imports from itself and from the floors below it.

The services stand above the gateway, which knows them by its contract alone, and below the faults:
each declares its fault points, and the fault plan implements them all. The server wires them.
"""

PRODUCT = {"errors", "limits", "config"}
"""Rooms of the product that the emulator imports: what is wrong, how large, and its settings."""


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)


def imports_of(path: Path) -> Iterator[str]:
    """Yield the modules of the product that a module imports, for types and in functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            whole = node.module == "dispatcher"
            names = [name if whole or name in MODULES else node.module for name in inner]
        else:
            continue
        yield from (name for name in names if name.startswith("dispatcher"))


MODULES = {
    name_of(path): path
    for path in sorted((ROOT / "emulator").rglob("*.py"))
    if path.name != "__init__.py"
}
IMPORTS = {module: set(imports_of(path)) for module, path in MODULES.items()}


def part_of(module: str) -> str:
    return module.removeprefix(EMULATOR).split(".")[0]


def floor_of(part: str) -> int:
    return next(floor for floor, parts in enumerate(FLOORS) if part in parts)


def test_every_part_is_on_a_floor() -> None:
    assert {part_of(module) for module in MODULES} == set[str]().union(*FLOORS)


def test_imports_point_downwards() -> None:
    wrong = [
        f"{module} imports {imported}"
        for module, names in IMPORTS.items()
        for imported in names
        if imported.startswith(EMULATOR)
        and part_of(imported) != part_of(module)
        and floor_of(part_of(imported)) >= floor_of(part_of(module))
    ]
    assert not wrong


def test_no_circle_between_modules() -> None:
    graph = {module: names & set(MODULES) for module, names in IMPORTS.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_the_product_is_known_by_its_errors_limits_and_settings() -> None:
    wrong = [
        f"{module} imports {imported}"
        for module, names in IMPORTS.items()
        for imported in names
        if not imported.startswith(EMULATOR) and ([*imported.split("."), ""])[1] not in PRODUCT
    ]
    assert not wrong
