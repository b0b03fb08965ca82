"""The documents name only files, functions and headings that exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from dispatcher.observe.meter import Meter
from dispatcher.observe.metrics import MeterCollector

ROOT = Path(__file__).parents[1]
DOCUMENTS = ["docs/architecture.md", "docs/glossary.md", "CONTRIBUTING.md"]
CODE = re.compile(r"`([^`\n]+)`")
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
PATH = re.compile(r"(?<![\w./-])(?:[\w-]+/)+(?:[\w.-]+\.\w+)?")


def spans(document: str) -> list[str]:
    """Return what stands in a document as code within a line."""
    return CODE.findall(FENCE.sub("", (ROOT / document).read_text(encoding="utf-8")))


@cache
def names_in(path: Path) -> frozenset[str]:
    """Return what a module defines: functions, classes, constants, and members of classes."""
    found: set[str] = set()

    def add(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    found.add(prefix + name)
                case ast.ClassDef(name=name):
                    found.add(prefix + name)
                    add(node.body, f"{prefix}{name}.")
                    for method in node.body:
                        found.update(f"{prefix}{name}.{own}" for own in _own_attributes(method))
                case ast.Assign(targets=targets):
                    found.update(_names(prefix, targets))
                case ast.AnnAssign(target=ast.Name(name)):
                    found.add(prefix + name)

    add(ast.parse(path.read_text(encoding="utf-8")).body, "")
    return frozenset(found)


def _names(prefix: str, targets: list[ast.expr]) -> list[str]:
    nodes = [node for target in targets for node in ast.walk(target)]
    return [prefix + node.id for node in nodes if isinstance(node, ast.Name)]


def _own_attributes(method: ast.stmt) -> list[str]:
    """Return the attributes that a method assigns to ``self``."""
    return [
        node.attr
        for node in ast.walk(method)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    ]


def file_of(path: str) -> Path:
    """Return the file or folder that a document means: from the root, or from ``dispatcher/``."""
    whole = ROOT / path
    return whole if whole.exists() else ROOT / "dispatcher" / path


def test_a_reference_is_a_path_and_a_name() -> None:
    assert file_of("reasons.py").is_file()
    assert "Reason.EXPIRED" in names_in(file_of("reasons.py"))
    assert "TokenBucket.take" in names_in(file_of("retry/token_bucket.py"))
    assert "TokenBucket.rate" in names_in(file_of("retry/token_bucket.py"))
    assert "TokenBucket.give" not in names_in(file_of("retry/token_bucket.py"))
    assert not file_of("retry/leaky_bucket.py").exists()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_exists(document: str) -> None:
    named = [path for span in spans(document) for path in PATH.findall(span.split(":")[0])]
    missing = [path for path in named if not file_of(path).exists()]
    assert not missing, f"{document} names {missing}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_name_behind_a_path_is_defined_there(document: str) -> None:
    """A reference is written ``path.py:name`` or ``path.py:Class.name``."""
    pairs = [span.partition(".py:") for span in spans(document) if ".py:" in span]
    wrong = [
        f"{path}.py:{name}"
        for path, _, name in pairs
        if name.removesuffix("()") not in names_in(file_of(f"{path}.py"))
    ]
    assert not wrong, f"{document} names {wrong}"


def messages() -> str:
    """Return every text in the package, with ``...`` for what is filled in."""
    texts = []
    for path in (ROOT / "dispatcher").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.JoinedStr(values=parts):
                    texts.append("".join(map(_text, parts)))
                case ast.Constant(str(text)):
                    texts.append(text)
    return "\n".join(texts)


def _text(part: ast.expr) -> str:
    return part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "..."


def test_the_symptoms_quote_what_the_messages_say() -> None:
    document = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    _, _, section = document.partition("\n## It is 3 a.m.\n")
    section, _, _ = section.partition("\n## ")
    symptoms = [row.split(" | ")[0] for row in section.splitlines() if row.startswith("| ")]
    quotes = [quote for symptom in symptoms for quote in re.findall(r'"([^"]+)"', symptom)]
    known = messages()
    unknown = [
        part for quote in quotes for part in quote.split(" ... ") if part.strip(".") not in known
    ]
    assert len(quotes) >= 10
    assert unknown == []


def test_the_metrics_are_those_of_a_run() -> None:
    meter = Meter(bytes_expected=1)
    metrics = {metric.name: metric.type for metric in MeterCollector(meter).collect()}
    names = {f"{name}_total" if kind == "counter" else name for name, kind in metrics.items()}
    operations = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert set(re.findall(r"dispatcher_[a-z_]+", operations)) == names
    guarantees = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
    assert set(re.findall(r"dispatcher_[a-z_]+", guarantees)) <= names


def anchors_in(document: Path) -> set[str]:
    """Return the anchors that a renderer gives to the headings of a document."""
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_anchor_is_a_heading() -> None:
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    wrong = []
    for document in documents:
        for path, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", document.read_text()):
            target = document.parent / path if path else document
            if anchor not in anchors_in(target):
                wrong.append(f"{document.name}: {path}#{anchor}")
    assert not wrong
