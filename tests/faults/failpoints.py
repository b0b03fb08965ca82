"""Every named moment at which a process may die."""

import ast
from pathlib import Path

import dispatcher


def names() -> list[str]:
    """Return the names of all moments, as they stand in the code of the product."""
    found: set[str] = set()
    for path in Path(dispatcher.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(ast.Attribute(ast.Name("failpoints"), "reach"), [ast.Constant(name)]):
                    found.add(str(name))
    return sorted(found)
