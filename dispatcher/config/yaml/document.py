"""Read YAML into plain values, and record where each of them was written."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from dispatcher.config.section import KeyPath, Problem, SourceLocation
from dispatcher.config.yaml.interpolation import InterpolationError, interpolate, shorten
from dispatcher.config.yaml.syntax import syntax_problem


@dataclass(slots=True, kw_only=True)
class Document:
    """The values of one YAML text.

    Attributes:
        value: dicts with text keys, lists, str, int, float, bool and None.
        origins: Where each value was written, by path.
        blank: Paths of keys with nothing behind their colon.
        problems: Mistakes; where there are any, the values are incomplete.
    """

    value: Any = None
    origins: dict[KeyPath, SourceLocation] = field(default_factory=dict)
    blank: set[KeyPath] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def origin(self, path: KeyPath) -> SourceLocation:
        """Return where a value was written, or the nearest section parents it."""
        while path and path not in self.origins:
            path = path[:-1]
        return self.origins.get(path, SourceLocation(0, ""))


class _Loader(yaml.SafeLoader):
    """The safe loader with the types of YAML 1.2: ``no``, ``on`` and ``1:30`` are text."""

    # Its own table, so that nothing is inherited from YAML 1.1.
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - as PyYAML declares it


_MAX_VALUES = 10_000

_NULL = "tag:yaml.org,2002:null"
_BOOL = "tag:yaml.org,2002:bool"
_INT = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"
_STR = "tag:yaml.org,2002:str"

for _tag, _pattern, _first in (
    (_NULL, r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (_BOOL, r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    (_INT, r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (_FLOAT, r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), _first)


def read_document(text: str, name: str, environ: Mapping[str, str] | None) -> Document:
    """Read one YAML document; mistakes become problems, and nothing is raised.

    Args:
        text: The YAML.
        name: Of the document in messages, which append the line.
        environ: Variables for ``${VAR}`` in values; None leaves ``$`` alone.
    """
    reader = _Reader(name, environ)
    try:
        node = yaml.compose(text, Loader=_Loader)
        if node is not None:
            reader.document.value = reader.read(node, (), ())
    except yaml.YAMLError as error:
        reader.document.problems.append(syntax_problem(error, text, name))
    except (RecursionError, _TooMany):
        reader.document.problems.append(
            Problem(SourceLocation(0, name), "it holds more values than a configuration can have")
        )
    return reader.document


class _TooMany(Exception):
    """The document has more than ``_MAX_VALUES`` values: aliases of aliases multiply."""


class _Reader:
    """Walks the nodes of one document."""

    def __init__(self, name: str, environ: Mapping[str, str] | None) -> None:
        self.document = Document()
        self._name = name
        self._environ = environ
        self._resolver = _Loader("")

    def read(self, node: yaml.Node, path: KeyPath, parents: tuple[int, ...]) -> Any:
        """Return the value of a node; ``parents`` are the ids of the nodes around it."""
        self.document.origins.setdefault(path, self._origin(node))
        if len(self.document.origins) > _MAX_VALUES:
            raise _TooMany
        if id(node) in parents:
            self._problem(node, "an alias (*) contains itself")
            return None
        parents = (*parents, id(node))
        if isinstance(node, yaml.MappingNode):
            return self._read_mapping(node, path, parents)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, i), parents) for i, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return self._read_scalar(node, path)

    def _read_mapping(
        self, node: yaml.MappingNode, path: KeyPath, parents: tuple[int, ...]
    ) -> dict[str, Any]:
        result: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(key_node, "a key must be a plain name")
                continue
            key = key_node.value
            if key in result:
                self._problem(
                    key_node,
                    f'"{shorten(key)}" is given twice; it is on line {lines[key]} already',
                )
                continue
            lines[key] = self._origin(key_node).line
            self.document.origins[(*path, key)] = self._origin(key_node)
            result[key] = self.read(value_node, (*path, key), parents)
        return result

    def _read_scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        text, tag = node.value, node.tag
        if self._environ is not None and "${" in text:
            try:
                text = interpolate(text, self._environ)
            except InterpolationError as error:
                self.document.problems.append(Problem(self.document.origin(path), str(error)))
                return None
            if text == "":
                tag = _NULL  # an empty value means unset, also in the quotes that braces need
            elif node.style is None:
                # The stubs of PyYAML leave this method without types.
                tag = self._resolver.resolve(  # type: ignore[no-untyped-call]
                    yaml.ScalarNode, text, (True, False)
                )
        elif text == "" and node.style is None:
            self.document.blank.add(path)
        try:
            return _scalar(text, tag)
        except ValueError:
            sentence = f'"{shorten(text)}" does not fit its tag {_short_tag(tag)}'
            self.document.problems.append(Problem(self.document.origin(path), sentence))
            return None

    def _origin(self, node: yaml.Node) -> SourceLocation:
        line = node.start_mark.line + 1
        return SourceLocation(line, f"{self._name}:{line}")

    def _problem(self, node: yaml.Node, sentence: str) -> None:
        self.document.problems.append(Problem(self._origin(node), sentence))


def _scalar(text: str, tag: str) -> Any:
    """Return the value of a scalar.

    Raises:
        ValueError: The tag is unknown, or was written by hand and does not fit.
    """
    if tag == _STR:
        return text
    if tag == _NULL:
        return None
    if tag == _BOOL and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if tag == _INT:
        return int(text) if text.lstrip("+-").isdigit() else int(text, 0)
    if tag == _FLOAT:
        return float(text)
    raise ValueError(tag)


def _short_tag(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")
