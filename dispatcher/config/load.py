"""Load a configuration from YAML, ``--set`` and the environment; report every mistake at once."""

import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dispatcher.config.explain import dotted, explain, section_of
from dispatcher.config.section import KeyPath, Problem, SourceLocation
from dispatcher.config.settings import Config
from dispatcher.config.yaml.document import Document, read_document
from dispatcher.errors import ConfigError

_MAX_BYTES = 1_000_000
"""A configuration is a page or two; a larger file was named by mistake."""

_SHORT_FORMS: Mapping[KeyPath, str] = {
    ("endpoint",): "name",
    ("emulator", "service_time"): "median",
}
"""Sections that may be written as one value, with the key that the value then has."""


def load_config(
    path: Path, overrides: Sequence[str] = (), environ: Mapping[str, str] = os.environ
) -> Config:
    """Read, complete and check the configuration of a run.

    Paths in it stay relative to the current folder. Later overrides win.

    Args:
        path: The YAML file.
        overrides: Values of ``--set``: ``section.key=value``, the value in YAML.
        environ: Variables for ``${VAR}`` and ``${VAR:-default}`` in the file.

    Raises:
        ConfigError: The file cannot be read, or has mistakes: one line for each, with file, line
            and remedy.
    """
    document = read_document(_read_text(path), str(path), environ)
    problems = list(document.problems)
    if document.value is None and not problems:
        raise ConfigError(
            f"{path}: it is empty; the least it needs is endpoint: NAME and source: {{path: FILE}}"
        )
    if not isinstance(document.value, dict) and not problems:
        raise ConfigError(
            f"{path}: it must be keys with values (endpoint: NAME), not "
            f"{'a list' if isinstance(document.value, list) else 'a single value'}"
        )
    if problems and not isinstance(document.value, dict):
        raise ConfigError(_listed(problems))
    _fill_blank_sections(document, problems)
    for override in overrides:
        _apply(document, override, problems)
    broken = {problem.origin for problem in problems}
    config, invalid = _validate(document, str(path))
    # A value that could not be read is reported once, not again as missing.
    problems += [problem for problem in invalid if problem.origin not in broken]
    if problems or config is None:
        raise ConfigError(_listed(problems))
    return config


def _read_text(path: Path) -> str:
    try:
        if path.is_dir():
            raise ConfigError(f"{path} is a folder; name the configuration file in it")
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"there is no configuration file {path}") from None
    except PermissionError:
        raise ConfigError(f"{path} may not be read; check its permissions") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path} cannot be read: {reason}") from None
    if len(content) > _MAX_BYTES:
        raise ConfigError(f"{path} is larger than 1 MB; is it the configuration?")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: it is not UTF-8; save the file as UTF-8") from None


def _fill_blank_sections(document: Document, problems: list[Problem]) -> None:
    """Replace sections whose keys are all commented out with their defaults.

    A blank optional section could mean its defaults or its absence, so it is a mistake: a run
    meant for the emulator must not reach AWS.
    """
    for key in Config.model_fields:
        field = Config.model_fields[key]
        if (key,) not in document.blank or section_of(field) is None or key == "endpoint":
            continue
        if field.default is None:
            problems.append(
                Problem(
                    document.origin((key,)),
                    f"{key} is empty; write {key}: {{}} for one with its defaults, "
                    "or remove the line",
                )
            )
        document.value[key] = {}


def _apply(document: Document, override: str, problems: list[Problem]) -> None:
    """Apply one ``--set`` to the document."""
    name, equals, text = override.partition("=")
    place = SourceLocation(0, f"--set {override}")
    parts = name.strip().split(".")
    if not equals or not all(parts):
        problems.append(Problem(place, "write it as section.key=value, as in limits.outstanding=9"))
        return
    # A lone dash means standard input, not a list with nothing in it.
    value = read_document('"-"' if text == "-" else text, place.place, None)
    if value.problems:
        problems.append(Problem(place, "the value is not valid YAML; put it in quotes"))
        return
    path: KeyPath = ()
    section: dict[str, Any] = document.value
    for part in parts[:-1]:
        path = (*path, part)
        inner = section.get(part)
        if inner is not None and path in _SHORT_FORMS and not isinstance(inner, dict):
            inner = {_SHORT_FORMS[path]: inner}
        if inner is None:
            inner = {}
            document.origins.setdefault(path, place)
        if not isinstance(inner, dict):
            where = document.origin(path).place
            problems.append(Problem(place, f"{dotted(path)} is not a section in {where}"))
            return
        section[part] = dict(inner)
        section = section[part]
    path = (*path, parts[-1])
    section[parts[-1]] = copy.deepcopy(value.value)
    for old in [old for old in document.origins if old[: len(path)] == path]:
        del document.origins[old]
    document.origins[path] = place


def _validate(document: Document, name: str) -> tuple[Config | None, list[Problem]]:
    try:
        return Config.model_validate(document.value), []
    except ValidationError as error:
        problems = []
        errors = error.errors(include_url=False)
        # A misspelt key first: a missing key beside it is often its consequence.
        for details in sorted(errors, key=lambda details: details["type"] != "extra_forbidden"):
            path: KeyPath = tuple(details["loc"])
            # A mistake of the whole document, or a section missing from it, has no line.
            whole = not path or (details["type"] == "missing" and len(path) == 1)
            origin = SourceLocation(0, name) if whole else document.origin(path)
            problems.append(Problem(origin, explain(details)))
        return None, problems


def _listed(problems: Sequence[Problem]) -> str:
    """Return the problems in the order of the file, one a line."""
    ordered = sorted(problems, key=lambda problem: problem.origin.line)
    return "\n".join(dict.fromkeys(str(problem) for problem in ordered))
